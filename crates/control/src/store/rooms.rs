//! Rooms as they are set, with the policies for their call and who owns them while they are active.

use std::collections::BTreeSet;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row};

use super::condition::{column, nullable};
use super::listing::{Listing, Page, Table};
use super::sql::{Sql, Value};
use super::{Change, Column, Store, from_ms, is_taken, now, search_text, to_ms, unreadable};
use crate::error::Error;
use crate::filter::{Field, Kind};
use crate::ids::Id;
use crate::rooms::{Control, Layout, Mode, Policy, RoomRecord, RoomSettings};

/// What is kept of a room's call, beside its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Which room.
    pub room: Id,
    /// For its present or next call.
    pub policy: Policy,
    /// The server that it is active on.
    pub owner: Option<Id>,
    /// Grows with each activation.
    pub epoch: i64,
}

type Bound<'q> = Query<'q, Any, AnyArguments>;

impl Change {
    /// Keeps a new room.
    ///
    /// # Errors
    /// `InUse` when the extension is taken.
    pub async fn insert_room(&mut self, room: &RoomRecord) -> Result<(), Error> {
        let query = sqlx::query(
            "INSERT INTO rooms (extension_number, mode, control, height, width, bitrate, framerate, layout, subject, \
             language, capacity, admin_pin, room_pin, enable_recording, enable_prompt, timezone, scheduled_start_at, \
             scheduled_end_at, numbers, internal_invitees, external_invitees, outbound_caller_ids, custom_options, \
             search_text, revision, token, created_at, id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28)",
        );
        bind_settings(query, &room.settings)?
            .bind(self.ids.next().raw())
            .bind(&room.token)
            .bind(to_ms(room.created_at))
            .bind(room.id.raw())
            .execute(self.db())
            .await
            .map_err(|e| match is_taken(&e) {
                true => Error::InUse(format!("extension {} is taken", room.settings.extension_number).into()),
                false => e.into(),
            })?;
        Ok(())
    }

    /// Reads a room, lets `change` make new settings of its present ones, and keeps those, all at once.
    ///
    /// # Errors
    /// `NotFound`, and whatever `change` refuses; nothing is changed then.
    pub async fn update_room(
        &mut self,
        id: Id,
        change: impl FnOnce(RoomSettings) -> Result<RoomSettings, Error> + Send,
    ) -> Result<RoomRecord, Error> {
        let select = format!("SELECT * FROM rooms WHERE id = $1{}", self.dialect.for_update());
        let row = sqlx::query(AssertSqlSafe(select)).bind(id.raw()).fetch_optional(self.db()).await?;
        let mut room = read(&row.ok_or(Error::NotFound("room"))?)?;
        room.settings = change(room.settings)?;
        let query = sqlx::query(
            "UPDATE rooms SET extension_number = $1, mode = $2, control = $3, height = $4, width = $5, bitrate = $6, \
             framerate = $7, layout = $8, subject = $9, language = $10, capacity = $11, admin_pin = $12, room_pin = $13, \
             enable_recording = $14, enable_prompt = $15, timezone = $16, scheduled_start_at = $17, scheduled_end_at = $18, \
             numbers = $19, internal_invitees = $20, external_invitees = $21, outbound_caller_ids = $22, custom_options = $23, \
             search_text = $24, revision = $25 WHERE id = $26",
        );
        let revision = self.ids.next().raw();
        bind_settings(query, &room.settings)?.bind(revision).bind(id.raw()).execute(self.db()).await?;
        Ok(room)
    }

    /// Gives a room another join token.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn renew_room_token(&mut self, id: Id, token: &str) -> Result<RoomRecord, Error> {
        let query = sqlx::query("UPDATE rooms SET token = $1, revision = $2 WHERE id = $3 RETURNING *");
        let query = query.bind(token).bind(self.ids.next().raw()).bind(id.raw());
        let row = query.fetch_optional(self.db()).await?;
        Ok(read(&row.ok_or(Error::NotFound("room"))?)?)
    }

    /// Forgets a room, and gives it as it was; its recordings stay.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_room(&mut self, id: Id) -> Result<RoomRecord, Error> {
        let query = sqlx::query("DELETE FROM rooms WHERE id = $1 RETURNING *").bind(id.raw());
        let row = query.fetch_optional(self.db()).await?;
        Ok(read(&row.ok_or(Error::NotFound("room"))?)?)
    }

    /// Keeps policies and owners, all at once. Rooms that are gone are passed over.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written; nothing is changed then.
    pub async fn hold(&mut self, holdings: &[Holding]) -> Result<(), Error> {
        for holding in holdings {
            let done = sqlx::query("UPDATE rooms SET locked = $1, muted = $2 WHERE id = $3")
                .bind(i64::from(holding.policy.locked))
                .bind(i64::from(holding.policy.muted))
                .bind(holding.room.raw())
                .execute(self.db())
                .await?;
            if done.rows_affected() == 0 || holding.epoch == 0 {
                continue;
            }
            sqlx::query(
                "INSERT INTO room_ownership (room_id, server_id, epoch, changed_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (room_id) DO UPDATE SET server_id = excluded.server_id, epoch = excluded.epoch, \
                 changed_at = excluded.changed_at",
            )
            .bind(holding.room.raw())
            .bind(holding.owner.map(Id::raw))
            .bind(holding.epoch)
            .bind(to_ms(now()))
            .execute(self.db())
            .await?;
        }
        Ok(())
    }

    /// Lets go of every room that a run which ended without a goodbye still owned. Policies stay: they were answered.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn release_rooms(&mut self, server: Id) -> Result<u64, Error> {
        let done = sqlx::query("UPDATE room_ownership SET server_id = NULL, changed_at = $1 WHERE server_id = $2")
            .bind(to_ms(now()))
            .bind(server.raw())
            .execute(self.db())
            .await?;
        Ok(done.rows_affected())
    }
}

impl Store {
    /// One room.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn room(&self, id: Id) -> Result<RoomRecord, Error> {
        let row = sqlx::query("SELECT * FROM rooms WHERE id = $1")
            .bind(id.raw())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        Ok(read(&row.ok_or(Error::NotFound("room"))?)?)
    }

    /// The room that a join token is of.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn room_of_token(&self, token: &str) -> Result<Option<Id>, Error> {
        let found: Option<i64> = sqlx::query_scalar("SELECT id FROM rooms WHERE token = $1")
            .bind(token)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        Ok(found.map(Id::from_raw))
    }

    /// A page of rooms, by their ids and revisions: whoever knows a revision knows the room.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn room_revisions(&self, listing: &Listing) -> Result<Page<(Id, i64)>, Error> {
        let table = Table { name: "rooms", columns: "", searched: "search_text", only: None, listing };
        self.list_keys(table, "revision").await
    }

    /// These rooms with their revisions, in no order; those that are gone are passed over.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn rooms_of(&self, ids: &[Id]) -> Result<Vec<(RoomRecord, i64)>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = Sql::new("SELECT * FROM rooms WHERE id IN (");
        for (at, id) in ids.iter().enumerate() {
            query.push(if at == 0 { "" } else { ", " }).bind(Value::Integer(id.raw()));
        }
        let rows = query.push(")").query().fetch_all(&mut *self.reader().await?).await?;
        Ok(rows.iter().map(|row| Ok((read(row)?, row.try_get("revision")?))).collect::<Result<_, sqlx::Error>>()?)
    }

    /// A page of rooms.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    #[cfg(test)]
    pub(crate) async fn rooms(&self, listing: &Listing) -> Result<Page<RoomRecord>, Error> {
        let page = self.room_revisions(listing).await?;
        let ids: Vec<Id> = page.items.iter().map(|(id, _)| *id).collect();
        let mut rooms: Vec<RoomRecord> = self.rooms_of(&ids).await?.into_iter().map(|(room, _)| room).collect();
        rooms.sort_by_key(|room| ids.iter().position(|id| *id == room.id));
        Ok(Page { count: page.count, items: rooms })
    }

    /// What a filter or an order of rooms may name.
    pub const ROOM_FIELDS: &[Field<Column>] = &[
        column("id", Kind::Id),
        column("extension_number", Kind::Text),
        column("mode", Kind::Text),
        column("control", Kind::Text),
        column("height", Kind::Number),
        column("width", Kind::Number),
        column("bitrate", Kind::Number),
        column("framerate", Kind::Number),
        column("layout", Kind::Text),
        column("subject", Kind::Text),
        nullable("language", Kind::Text),
        column("capacity", Kind::Number),
        nullable("admin_pin", Kind::Text),
        nullable("room_pin", Kind::Text),
        Field::new("has_admin_pin", Kind::Boolean, Column::same("CASE WHEN admin_pin IS NULL THEN 0 ELSE 1 END")),
        Field::new("has_room_pin", Kind::Boolean, Column::same("CASE WHEN room_pin IS NULL THEN 0 ELSE 1 END")),
        column("enable_recording", Kind::Boolean),
        column("enable_prompt", Kind::Boolean),
        nullable("timezone", Kind::Text),
        column("created_at", Kind::Time),
        nullable("scheduled_start_at", Kind::Time),
        nullable("scheduled_end_at", Kind::Time),
        nullable("numbers", Kind::Text),
        nullable("internal_invitees", Kind::List),
        nullable("external_invitees", Kind::Text),
        nullable("custom_options", Kind::Text),
    ];

    /// Every room's extension.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn extensions(&self) -> Result<BTreeSet<String>, Error> {
        let query = sqlx::query_scalar::<_, String>("SELECT extension_number FROM rooms");
        Ok(query.fetch_all(&mut *self.reader().await?).await?.into_iter().collect())
    }

    /// Every room with the epoch of its last activation, for the start.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn all_rooms(&self) -> Result<Vec<(RoomRecord, i64)>, Error> {
        let rows = sqlx::query(
            "SELECT rooms.*, coalesce(room_ownership.epoch, 0) AS epoch FROM rooms \
             LEFT JOIN room_ownership ON room_ownership.room_id = rooms.id",
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        Ok(rows.iter().map(|row| Ok((read(row)?, row.try_get("epoch")?))).collect::<Result<_, sqlx::Error>>()?)
    }
}

/// In the order of the columns of INSERT and UPDATE, up to `search_text`.
fn bind_settings<'q>(query: Bound<'q>, settings: &'q RoomSettings) -> Result<Bound<'q>, Error> {
    let json = |error: serde_json::Error| Error::Broken(format!("cannot be written as JSON: {error}"));
    let invitees = settings.internal_invitees.as_ref().map(serde_json::to_string).transpose().map_err(json)?;
    let caller_ids = settings.outbound_caller_ids.as_ref().map(serde_json::to_string).transpose().map_err(json)?;
    Ok(query
        .bind(&settings.extension_number)
        .bind(settings.mode.as_str())
        .bind(settings.control.as_str())
        .bind(i64::from(settings.height_px))
        .bind(i64::from(settings.width_px))
        .bind(i64::from(settings.bitrate_kbps))
        .bind(i64::from(settings.framerate))
        .bind(settings.layout.as_str())
        .bind(&settings.subject)
        .bind(&settings.language)
        .bind(i64::from(settings.capacity))
        .bind(&settings.admin_pin)
        .bind(&settings.room_pin)
        .bind(i64::from(settings.enable_recording))
        .bind(i64::from(settings.enable_prompt))
        .bind(&settings.timezone)
        .bind(settings.scheduled_start_at.map(to_ms))
        .bind(settings.scheduled_end_at.map(to_ms))
        .bind(&settings.numbers)
        .bind(invitees)
        .bind(&settings.external_invitees)
        .bind(caller_ids)
        .bind(&settings.custom_options)
        .bind(search_text(&[&settings.extension_number, &settings.subject])))
}

fn read(row: &AnyRow) -> Result<RoomRecord, sqlx::Error> {
    let text = |column: &'static str| row.try_get::<String, _>(column);
    let number = |column: &'static str| {
        row.try_get::<i64, _>(column).and_then(|n| u32::try_from(n).map_err(|_| unreadable(column)))
    };
    let flag = |column: &'static str| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(column)? != 0);
    let time = |column: &'static str| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(from_ms));
    let json = |column: &'static str| row.try_get::<Option<String>, _>(column);
    Ok(RoomRecord {
        id: Id::from_raw(row.try_get("id")?),
        settings: RoomSettings {
            extension_number: text("extension_number")?,
            mode: Mode::parse(&text("mode")?).ok_or_else(|| unreadable("mode"))?,
            control: Control::parse(&text("control")?).ok_or_else(|| unreadable("control"))?,
            height_px: number("height")?,
            width_px: number("width")?,
            bitrate_kbps: number("bitrate")?,
            framerate: number("framerate")?,
            layout: Layout::parse(&text("layout")?).ok_or_else(|| unreadable("layout"))?,
            subject: text("subject")?,
            language: row.try_get("language")?,
            capacity: number("capacity")?,
            admin_pin: row.try_get("admin_pin")?,
            room_pin: row.try_get("room_pin")?,
            enable_recording: flag("enable_recording")?,
            enable_prompt: flag("enable_prompt")?,
            timezone: row.try_get("timezone")?,
            scheduled_start_at: time("scheduled_start_at")?,
            scheduled_end_at: time("scheduled_end_at")?,
            numbers: row.try_get("numbers")?,
            internal_invitees: json("internal_invitees")?
                .map(|text| serde_json::from_str(&text).map_err(|_| unreadable("internal_invitees")))
                .transpose()?,
            external_invitees: row.try_get("external_invitees")?,
            outbound_caller_ids: json("outbound_caller_ids")?
                .map(|text| serde_json::from_str(&text).map_err(|_| unreadable("outbound_caller_ids")))
                .transpose()?,
            custom_options: row.try_get("custom_options")?,
        },
        token: text("token")?,
        created_at: from_ms(row.try_get("created_at")?),
        policy: Policy { locked: flag("locked")?, muted: flag("muted")? },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::OutboundCallerId;
    use crate::rooms::testing::settings;
    use crate::store::testing::change;
    use crate::store::{Order, testing};

    fn room(store: &Store, extension: &str) -> RoomRecord {
        RoomRecord {
            id: store.ids().next(),
            settings: settings(extension),
            token: "t".into(),
            created_at: now(),
            policy: Policy::default(),
        }
    }

    #[tokio::test]
    async fn every_field_survives_the_database_and_a_reopening() {
        let (dir, store) = testing::store().await;
        let mut written = room(&store, "900");
        written.settings.language = Some("en-US".into());
        written.settings.scheduled_end_at = Some("2030-01-01T10:00:00.5Z".parse().unwrap());
        written.settings.internal_invitees = Some(vec!["a".into(), "ü\"'".into()]);
        written.settings.outbound_caller_ids =
            Some(vec![OutboundCallerId { provider_id: "p".into(), caller_id: "123".into(), description: None }]);
        written.settings.layout = Layout::Layout7;
        change!(store, insert_room(&written)).unwrap();
        assert_eq!(store.room(written.id).await.unwrap(), written);
        store.close().await;
        let again = dir.open().await;
        assert_eq!(again.room(written.id).await.unwrap(), written);
        assert!(again.ids().next() > written.id);
    }

    #[tokio::test]
    async fn second_room_of_an_extension_is_refused() {
        let (_dir, store) = testing::store().await;
        change!(store, insert_room(&room(&store, "900"))).unwrap();
        let error = change!(store, insert_room(&room(&store, "900"))).unwrap_err();
        assert_eq!(error, Error::InUse("extension 900 is taken".into()));
    }

    #[tokio::test]
    async fn refused_update_changes_nothing() {
        let (_dir, store) = testing::store().await;
        let written = room(&store, "900");
        change!(store, insert_room(&written)).unwrap();
        let refused = change!(store, update_room(written.id, |_| Err(Error::invalid("capacity", "no"))));
        assert_eq!(refused.unwrap_err(), Error::invalid("capacity", "no"));
        assert_eq!(store.room(written.id).await.unwrap(), written);
        let updated = change!(store, update_room(written.id, |s| Ok(RoomSettings { capacity: 7, ..s }))).unwrap();
        assert_eq!(updated.settings.capacity, 7);
        assert_eq!(store.room(written.id).await.unwrap(), updated);
    }

    #[tokio::test]
    async fn pages_are_ordered_searched_and_counted() {
        let (_dir, store) = testing::store().await;
        for (extension, subject) in [("901", "Straße"), ("902", "ÄRGER"), ("903", "100% a_b")] {
            let mut room = room(&store, extension);
            room.settings.subject = subject.into();
            change!(store, insert_room(&room)).unwrap();
        }
        let extensions = async |listing: Listing| {
            let page = store.rooms(&listing).await.unwrap();
            (page.count, page.items.into_iter().map(|r| r.settings.extension_number).collect::<Vec<_>>())
        };
        let field = Store::ROOM_FIELDS.iter().find(|field| field.name == "extension_number").unwrap();
        let order = vec![Order { field, descending: true }];
        assert_eq!(
            extensions(Listing { order, skip: 1, top: 1, ..Listing::default() }).await,
            (3, vec!["902".to_owned()])
        );
        for (search, found) in
            [("ärger", vec!["902"]), ("%", vec!["903"]), ("_", vec!["903"]), ("90", vec!["901", "902", "903"])]
        {
            let (_, items) = extensions(Listing { search: Some(search.into()), ..Listing::default() }).await;
            assert_eq!(items, found, "{search}");
        }
        let injected = Listing { search: Some("'); DROP TABLE rooms; --".into()), ..Listing::default() };
        assert_eq!(extensions(injected).await, (0, vec![]));
    }

    #[tokio::test]
    async fn holdings_are_kept_and_released() {
        let (_dir, store) = testing::store().await;
        let config =
            crate::config::ServerConfig { name: "s".into(), ipv4: None, ipv6: None, max_rooms: 1, max_participants: 1 };
        let server = change!(store, built_in_server(&config)).unwrap();
        let written = room(&store, "900");
        change!(store, insert_room(&written)).unwrap();
        let policy = Policy { locked: true, muted: false };
        let gone = Holding { room: Id::from_raw(1), policy, owner: None, epoch: 1 };
        let kept = Holding { room: written.id, policy, owner: Some(server.id), epoch: 4 };
        change!(store, hold(&[gone, kept])).unwrap();
        let all = store.all_rooms().await.unwrap();
        assert_eq!((all[0].0.policy, all[0].1), (policy, 4));
        assert_eq!(change!(store, release_rooms(server.id)).unwrap(), 1);
        assert_eq!(change!(store, release_rooms(server.id)).unwrap(), 0);
        change!(store, delete_room(written.id)).unwrap();
        assert_eq!(change!(store, delete_room(written.id)).unwrap_err(), Error::NotFound("room"));
    }
}
