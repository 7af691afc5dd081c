//! Tiles that operators set, by room and participant's number: what is left of them after a crash.

use sqlx::Row;

use super::{Change, Store, unreadable};
use crate::error::Error;
use crate::ids::Id;
use crate::rooms::Pins;

impl Change {
    /// Keeps the pins of a room in the place of those that it had. A room that is gone is passed over.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written; nothing is changed then.
    pub async fn hold_pins(&mut self, room: Id, pins: &Pins) -> Result<(), Error> {
        sqlx::query("DELETE FROM room_pins WHERE room_id = $1").bind(room.raw()).execute(self.db()).await?;
        for (number, position) in pins {
            sqlx::query(
                "INSERT INTO room_pins (room_id, number, position) \
                 SELECT id, CAST($2 AS TEXT), CAST($3 AS BIGINT) FROM rooms WHERE id = $1",
            )
            .bind(room.raw())
            .bind(number)
            .bind(i64::from(*position))
            .execute(self.db())
            .await?;
        }
        Ok(())
    }
}

impl Store {
    /// Every pin, for the start.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn all_pins(&self) -> Result<Vec<(Id, String, i8)>, Error> {
        let rows = sqlx::query("SELECT room_id, number, position FROM room_pins")
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let read = |row: &sqlx::any::AnyRow| {
            let position: i64 = row.try_get("position")?;
            let position = i8::try_from(position).map_err(|_| unreadable("position"))?;
            Ok((Id::from_raw(row.try_get("room_id")?), row.try_get("number")?, position))
        };
        Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::testing::settings;
    use crate::rooms::{Policy, RoomRecord};
    use crate::store::{now, testing, testing::change};

    #[tokio::test]
    async fn pins_replace_those_before_and_go_with_their_room() {
        let (_place, store) = testing::store().await;
        let room = RoomRecord {
            id: store.ids().next(),
            settings: settings("900"),
            token: "t".into(),
            created_at: now(),
            policy: Policy::default(),
        };
        change!(store, insert_room(&room)).unwrap();
        let pins = |all: &[(&str, i8)]| all.iter().map(|(number, at)| ((*number).to_owned(), *at)).collect::<Pins>();
        change!(store, hold_pins(room.id, &pins(&[("101", 3), ("102", -1)]))).unwrap();
        change!(store, hold_pins(room.id, &pins(&[("ü'\"", 8)]))).unwrap();
        assert_eq!(store.all_pins().await.unwrap(), [(room.id, "ü'\"".to_owned(), 8)]);
        change!(store, hold_pins(Id::from_raw(1), &pins(&[("101", 0)]))).unwrap();
        assert_eq!(store.all_pins().await.unwrap().len(), 1, "a room that is gone has none");
        change!(store, delete_room(room.id)).unwrap();
        assert!(store.all_pins().await.unwrap().is_empty());
    }
}
