//! Out and in, between either database and a file.

use super::*;
use crate::config::ServerConfig;
use crate::ids::Id;
use crate::rooms::testing::settings;
use crate::rooms::{Policy, RoomRecord};
use crate::store::testing::{self, Place, change};
use crate::store::{Holding, Listing, Role};

fn server(name: &str) -> ServerConfig {
    ServerConfig { name: name.into(), ipv4: Some("192.0.2.1".into()), ipv6: None, max_rooms: 5, max_participants: 50 }
}

fn room(store: &Store, extension: &str) -> RoomRecord {
    let mut settings = settings(extension);
    settings.room_pin = Some("0042".into());
    settings.subject = "Ünï\"'code".into();
    RoomRecord { id: store.ids().next(), settings, token: "t".into(), created_at: now(), policy: Policy::default() }
}

fn event(room: Id) -> NewEvent {
    NewEvent { at: now(), room: Some(room), extension: None, kind: Kind::RoomStarted, data: Data::Lost { lost: 0 } }
}

/// A store with one of each; gives its room and its server's id.
async fn furnished(store: &Store) -> (RoomRecord, Id) {
    let room = room(store, "900");
    let server = change!(store, built_in_server(&server("one"))).unwrap().id;
    change!(store, insert_room(&room)).unwrap();
    let holding = Holding { room: room.id, policy: Policy::default(), owner: Some(server), epoch: 3 };
    change!(store, hold(&[holding])).unwrap();
    let (_, token) = crate::auth::new_token(store, "portal", Role::Viewer, None).unwrap();
    change!(store, insert_token(&token)).unwrap();
    change!(store, append_events(&[event(room.id), event(room.id)])).unwrap();
    store.secret("key", b"\0\xff").await.unwrap();
    (room, server)
}

#[tokio::test]
async fn everything_comes_back_into_another_installation() {
    let (place, store) = testing::store().await;
    let (written, _) = furnished(&store).await;
    let file = place.dir.path().join("backup.db");
    let rows = store.backup(&file).await.unwrap();
    assert_eq!(rows, 8);
    let names: Vec<_> = std::fs::read_dir(place.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|n| n.to_string_lossy().contains("unfinished")), "{names:?}");

    let (other_place, other) = testing::store().await;
    let own = change!(other, built_in_server(&server("two"))).unwrap().id;
    let gone = room(&other, "901");
    change!(other, insert_room(&gone)).unwrap();
    let before = other.generation().await.unwrap();
    assert_eq!(other.restore(&file, other_place.dir.path()).await.unwrap(), rows);
    assert_ne!(other.generation().await.unwrap(), before);
    assert_eq!(other.room(written.id).await.unwrap(), written);
    assert_eq!(other.room(gone.id).await.unwrap_err(), Error::NotFound("room"));
    let servers = other.servers(&Listing::default()).await.unwrap();
    assert_eq!((servers.count, servers.items[0].id, servers.items[0].name.as_str()), (1, own, "one"));
    assert_eq!(other.tokens().await.unwrap(), store.tokens().await.unwrap());
    assert_eq!(other.secret("key", b"").await.unwrap(), b"\0\xff");
    assert_eq!(other.all_rooms().await.unwrap()[0].1, 3);
    assert_eq!(change!(other, release_rooms(own)).unwrap(), 0, "nobody owns a room");
    let events = other.events_after(0, None, 10).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|e| (e.kind.as_str(), e.sequence)).collect();
    assert_eq!(kinds, [("room.started", 1), ("room.started", 2), ("store.restored", 1)]);
}

#[tokio::test]
async fn cursors_and_sequences_never_run_back() {
    let (place, store) = testing::store().await;
    let (room, _) = furnished(&store).await;
    let file = place.dir.path().join("backup.db");
    store.backup(&file).await.unwrap();
    let last = change!(store, append_events(&[event(room.id)])).unwrap();
    store.restore(&file, place.dir.path()).await.unwrap();
    let next = change!(store, append_events(&[event(room.id)])).unwrap();
    assert!(next > last, "{next} after {last}");
    let of_room = store.events_after(0, Some(room.id), 10).await.unwrap();
    assert_eq!(of_room.iter().map(|e| e.sequence).collect::<Vec<_>>(), [1, 2, 4]);
}

#[tokio::test]
async fn file_that_is_there_or_is_no_backup_changes_nothing() {
    let (place, store) = testing::store().await;
    let (written, _) = furnished(&store).await;
    let file = place.dir.path().join("backup.db");
    store.backup(&file).await.unwrap();
    assert!(matches!(store.backup(&file).await.unwrap_err(), Error::InUse(_)));
    let other = place.dir.path().join("other.db");
    std::fs::write(&other, "this is no database, but long enough to be looked at".repeat(100)).unwrap();
    for wrong in [other, place.dir.path().join("missing.db")] {
        let error = store.restore(&wrong, place.dir.path()).await.unwrap_err();
        assert!(matches!(&error, Error::Broken(why) if why.contains(wrong.to_str().unwrap())), "{error:?}");
    }
    assert_eq!(store.room(written.id).await.unwrap(), written);
}

#[tokio::test]
async fn no_table_is_forgotten() {
    let place = Place::in_a_file();
    let store = place.open().await;
    let names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
                 AND name NOT LIKE '_sqlx_%' ORDER BY name";
    let mut there: Vec<String> = sqlx::query_scalar(names).fetch_all(&store.read).await.unwrap();
    let mut copied: Vec<String> = TABLES.iter().map(|table| (*table).to_owned()).collect();
    there.sort();
    copied.sort();
    assert_eq!(copied, there);
}
