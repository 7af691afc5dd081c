//! From every earlier schema to the present one: what was kept then is there, as it was, and is read by the store.

use std::collections::BTreeMap;

use sqlx::any::{AnyRow, AnyTypeInfoKind};
use sqlx::{AnyConnection, AssertSqlSafe, Column, Connection, Row};

use super::*;
use crate::events::{Data, Kind, NewEvent};
use crate::rooms::Policy;
use crate::store::backup::TABLES;
use crate::store::testing::{Place, change};
use crate::store::*;

/// An id for each row, in the order in which they are made.
const SERVER: i64 = 700_000_000_000_000_001;
const ADDED: i64 = SERVER + 1;
const ROOM: i64 = SERVER + 2;
const BARE: i64 = SERVER + 3;
const FINISHED: i64 = SERVER + 4;
const RUNNING: i64 = SERVER + 5;
const TOKEN: i64 = SERVER + 6;
const REVOKED: i64 = SERVER + 7;
const USER: i64 = SERVER + 8;
const ACCESS: i64 = SERVER + 9;
const SESSION: i64 = SERVER + 10;
const NOTE: i64 = SERVER + 11;
const WEBHOOK: i64 = SERVER + 12;
const REVISION: i64 = SERVER + 13;
const LETTER: i64 = SERVER + 14;

/// What each schema could keep, in the words of that schema; of a table or column that came with it. A new migration brings
/// its own.
fn rows(schema: i64, dialect: Dialect) -> Vec<String> {
    let bytes = |byte: u8| {
        let hex = format!("{byte:02x}").repeat(32);
        match dialect {
            Dialect::Sqlite => format!("x'{hex}'"),
            Dialect::Postgres => format!("'\\x{hex}'"),
        }
    };
    match schema {
        1 => vec![
            format!(
                "INSERT INTO servers VALUES ({SERVER}, 'one', 'INTERNAL', 0, '192.0.2.1', '2001:db8::1', 7, 70, \
                 'one 192.0.2.1', 1000), ({ADDED}, 'zwei', 'EXTERNAL', 1, NULL, NULL, 0, 2147483647, 'zwei', 1001)"
            ),
            format!(
                "INSERT INTO rooms VALUES ({ROOM}, '0900', 'VIDEO', 'MASTER', 1080, 1920, 2048, 30, 'LAYOUT6', \
                 'Ünï''\"code', 'en-US', 9, '123456', '0042', 1, 0, 'Asia/Shanghai', 1893456000500, 1893459600000, \
                 '+1 555', '[\"a\",\"ü\"]', 'a@example.org', \
                 '[{{\"provider_id\":\"p\",\"caller_id\":\"1\",\"description\":null}}]', '{{\"a\":1}}', 'token', 1, 1, \
                 '0900 ünï', 1002), ({BARE}, '901', 'AUDIO', 'FREE', 720, 1280, 1024, 15, 'LAYOUT0', 'Bare', NULL, 1, \
                 NULL, NULL, 0, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'other', 0, 0, '901 bare', 1003)"
            ),
            format!("INSERT INTO room_ownership VALUES ({ROOM}, {SERVER}, 41, 1004), ({BARE}, NULL, 2, 1005)"),
            format!(
                "INSERT INTO recordings VALUES ({FINISHED}, {ROOM}, {SERVER}, 'FINISHED', 1006, 2506, 1500, \
                 '0900.ogg', '2030/01/1.ogg', 4096, {}, NULL, 1, NULL), ({RUNNING}, {ROOM}, {SERVER}, 'RECORDING', \
                 1007, NULL, NULL, '0900-2.ogg', '2030/01/2.ogg', NULL, NULL, NULL, 0, {FINISHED})",
                bytes(7)
            ),
            format!(
                "INSERT INTO tokens (id, name, role, digest, created_at, expires_at, revoked_at) VALUES \
                 ({TOKEN}, 'portal', 'operator', {}, 1008, NULL, NULL), ({REVOKED}, 'lost', 'viewer', {}, 1009, \
                 4102444800000, 1010)",
                bytes(8),
                bytes(9)
            ),
            format!("INSERT INTO installation VALUES ('blob_url_key', {})", bytes(255)),
        ],
        2 => vec![
            format!("UPDATE rooms SET revision = {REVISION} WHERE id = {ROOM}"),
            format!(
                "INSERT INTO events (at, room_id, extension_number, sequence, kind, data) VALUES \
                 (1011, {ROOM}, '0900', 1, 'room.started', '{{}}'), (1012, NULL, NULL, 1, 'server.online', '{{}}'), \
                 (1013, {ROOM}, '0900', 2, 'participant.joined', '{{\"a\":\"ü\"}}')"
            ),
            format!("INSERT INTO event_sequences VALUES ({ROOM}, 2), (0, 1)"),
        ],
        3 => vec![
            format!("INSERT INTO users VALUES ({USER}, 'alice', 'admin', '$argon2id$x', 'CLI', 1014, 1015)"),
            format!(
                "INSERT INTO tokens (id, name, role, digest, created_at, expires_at, kind, source, user_id, session_id) \
                 VALUES ({ACCESS}, 'alice', 'admin', {}, 1016, 4102444800000, 'ACCESS', 'CLI', {USER}, {SESSION})",
                bytes(10)
            ),
            format!("INSERT INTO command_notes VALUES ({NOTE}, 1017, 'uid 0', 'user add', 'alice')"),
        ],
        4 => vec![format!("INSERT INTO room_pins VALUES ({ROOM}, '101', 3), ({ROOM}, 'ü''', -1)")],
        5 => vec![
            format!(
                "INSERT INTO webhooks VALUES ({WEBHOOK}, 'https://example.org/ü', 'secret', 'room.,participant.left', \
                 1, 'API', 1018)"
            ),
            format!(
                "INSERT INTO deliveries VALUES (1, {WEBHOOK}, {ROOM}, 'PENDING', 2, 1019, 1020, 1021, 500, 'no'), \
                 (2, {WEBHOOK}, 0, 'DEAD', 9, 1022, 1023, 1024, NULL, 'gone')"
            ),
        ],
        6 => vec![
            format!("INSERT INTO invitations VALUES ({ROOM}, '1@example.org', 3)"),
            format!(
                "INSERT INTO letters VALUES ({LETTER}, {ROOM}, 'a@example.org', '{{\"a\":\"ü\"}}', 2, 1025, 1026, 'busy')"
            ),
        ],
        other => panic!("schema {other} has no rows here: what it brings has to survive what comes after it"),
    }
}

async fn connection(place: &Place) -> (Dialect, AnyConnection) {
    sqlx::any::install_default_drivers();
    let (dialect, url) = match &place.config {
        DatabaseConfig::Sqlite(path) => (Dialect::Sqlite, format!("sqlite://{}?mode=rwc", path.display())),
        DatabaseConfig::Postgres(url) => (Dialect::Postgres, url.to_string()),
    };
    (dialect, AnyConnection::connect(&url).await.unwrap())
}

/// A database that came to this schema from the first one, with everything in it that each of them could keep.
async fn as_of(place: &Place, schema: i64) -> (Dialect, AnyConnection) {
    let (dialect, mut db) = connection(place).await;
    for schema in 1..=schema {
        set(dialect).run_direct(Some(schema), &mut db, false).await.unwrap();
        for statement in rows(schema, dialect) {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut db).await.unwrap();
        }
    }
    (dialect, db)
}

/// Every row of every table that there is, as text.
async fn contents(dialect: Dialect, db: &mut AnyConnection) -> BTreeMap<String, Vec<BTreeMap<String, String>>> {
    let names = match dialect {
        Dialect::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
        Dialect::Postgres => "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema()",
    };
    let mut names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut *db).await.unwrap();
    names.retain(|name| !name.starts_with('_') && !name.starts_with("sqlite_"));
    let mut contents = BTreeMap::new();
    for name in names {
        let select = format!("SELECT * FROM {name} ORDER BY 1, 2");
        let rows = sqlx::query(AssertSqlSafe(select)).fetch_all(&mut *db).await.unwrap();
        contents.insert(name, rows.iter().map(as_text).collect());
    }
    contents
}

fn as_text(row: &AnyRow) -> BTreeMap<String, String> {
    let one = |(at, column): (usize, &<Any as sqlx::Database>::Column)| {
        let value = match column.type_info().kind() {
            AnyTypeInfoKind::Text => format!("{:?}", row.get::<Option<String>, _>(at)),
            AnyTypeInfoKind::Blob => format!("{:?}", row.get::<Option<Vec<u8>>, _>(at)),
            AnyTypeInfoKind::Null => "None".to_owned(),
            _ => format!("{:?}", row.get::<Option<i64>, _>(at)),
        };
        (column.name().to_owned(), value)
    };
    row.columns().iter().enumerate().map(one).collect()
}

#[tokio::test]
async fn nothing_is_lost_on_the_way_from_any_earlier_schema() {
    let newest = newest(Place::new().dialect());
    for schema in 1..=newest {
        let place = Place::new();
        let (dialect, mut db) = as_of(&place, schema).await;
        let before = contents(dialect, &mut db).await;
        assert!(before.values().all(|rows| !rows.is_empty()), "schema {schema}: a table without rows: {before:?}");
        db.close().await.unwrap();

        let store = place.open().await;
        let (_, mut db) = connection(&place).await;
        let after = contents(dialect, &mut db).await;
        assert_eq!(after.len(), TABLES.len(), "a backup has every table");
        for (table, rows) in &before {
            let same = after[table].iter().map(|row| {
                let known = |(name, _): &(&String, &String)| rows[0].contains_key(*name);
                row.iter().filter(known).map(|(name, value)| (name.clone(), value.clone())).collect()
            });
            assert_eq!(same.collect::<Vec<BTreeMap<_, _>>>(), *rows, "{table} of schema {schema}");
        }
        db.close().await.unwrap();
        is_readable(&store, schema).await;
        store.close().await;
        // It is gone but once.
        let again = place.open().await;
        assert_eq!(again.room(Id::from_raw(ROOM)).await.unwrap().settings.extension_number, "0900");
        again.close().await;
    }
}

/// Everything that the schema could keep, through the store.
async fn is_readable(store: &Store, schema: i64) {
    let id = Id::from_raw;
    let last = if schema == 1 { REVOKED } else { REVISION };
    assert!(store.ids().next() > id(last), "ids are not given twice");
    let rooms = store.rooms(&Listing::default()).await.unwrap();
    let [room, bare] = rooms.items.as_slice() else { panic!("{rooms:?}") };
    assert_eq!((room.id, bare.id), (id(ROOM), id(BARE)));
    assert_eq!(room.policy, Policy { locked: true, muted: true });
    let settings = &room.settings;
    assert_eq!((settings.room_pin.as_deref(), settings.admin_pin.as_deref()), (Some("0042"), Some("123456")));
    assert_eq!((settings.extension_number.as_str(), settings.subject.as_str()), ("0900", "Ünï'\"code"));
    assert_eq!(settings.scheduled_start_at, Some(from_ms(1_893_456_000_500)));
    assert_eq!(settings.internal_invitees.as_deref(), Some(&["a".to_owned(), "ü".to_owned()][..]));
    assert_eq!(settings.outbound_caller_ids.as_ref().unwrap()[0].caller_id, "1");
    assert_eq!((settings.layout.as_str(), settings.custom_options.as_deref()), ("LAYOUT6", Some("{\"a\":1}")));
    let mut epochs: Vec<_> = store.all_rooms().await.unwrap().iter().map(|(room, epoch)| (room.id, *epoch)).collect();
    epochs.sort();
    assert_eq!(epochs, [(id(ROOM), 41), (id(BARE), 2)]);

    let server = store.server(id(SERVER)).await.unwrap();
    assert_eq!((server.enabled, server.max_rooms, server.max_participants), (false, 7, 70));
    assert_eq!(store.servers(&Listing::default()).await.unwrap().count, 2);

    let recordings = store.recordings(id(ROOM), &Listing::default()).await.unwrap();
    assert_eq!(recordings.count, 2);
    let finished = store.recordings_by_digest(&[7; 32], 2).await.unwrap().remove(0);
    assert_eq!((finished.id, finished.is_read, finished.file_size), (id(FINISHED), true, Some(4096)));
    let running = store.open_recordings().await.unwrap();
    assert_eq!((running.len(), running[0].id, running[0].part_of), (1, id(RUNNING), Some(id(FINISHED))));

    let tokens = store.tokens().await.unwrap();
    assert_eq!(tokens.iter().map(|token| token.id).collect::<Vec<_>>(), [id(TOKEN), id(REVOKED)]);
    let token = store.token(&[8; 32]).await.unwrap().unwrap();
    assert!(token.holds_at(now()) && token.kind == TokenKind::Api && token.source == Source::Cli);
    assert!(!store.token(&[9; 32]).await.unwrap().unwrap().holds_at(now()), "revoked is revoked");
    assert_eq!(store.secret("blob_url_key", b"").await.unwrap(), [255; 32]);

    if schema >= 2 {
        let events = store.events_after(0, Some(id(ROOM)), 10).await.unwrap();
        assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(events[1].data, "{\"a\":\"ü\"}");
    }
    if schema >= 3 {
        let user = store.user("alice").await.unwrap().unwrap();
        assert_eq!((user.id, user.role, user.password_hash.as_str()), (id(USER), Role::Admin, "$argon2id$x"));
        let session = Some(Session { id: id(SESSION), user: id(USER) });
        assert_eq!(store.token(&[10; 32]).await.unwrap().unwrap().session, session);
        assert!(store.token_holds(id(ACCESS), session).await.unwrap());
        assert_eq!(store.take_command_notes().await.unwrap()[0].subject, "alice");
    }
    if schema >= 4 {
        let mut pins = store.all_pins().await.unwrap();
        pins.sort();
        assert_eq!(pins, [(id(ROOM), "101".to_owned(), 3), (id(ROOM), "ü'".to_owned(), -1)]);
    }
    if schema >= 5 {
        let webhook = store.webhook(id(WEBHOOK)).await.unwrap();
        assert_eq!((webhook.url.as_str(), webhook.secret.as_str()), ("https://example.org/ü", "secret"));
        assert_eq!(webhook.types.patterns(), ["room.", "participant.left"]);
        assert_eq!(store.deliveries_of(webhook.id, 10).await.unwrap()[0].attempts, 2);
        assert_eq!(store.deliveries(webhook.id, None, 0, 10).await.unwrap().count, 2);
        assert_eq!(store.dead_deliveries().await.unwrap(), 1);
    }

    if schema >= 6 {
        let letter = store.due_letters(now(), 10).await.unwrap().remove(0);
        assert_eq!((letter.id, letter.room, letter.attempts), (id(LETTER), id(ROOM), 2));
        assert_eq!((letter.recipient.as_str(), letter.content.as_str()), ("a@example.org", "{\"a\":\"ü\"}"));
        let next = change!(store, next_invitation(id(ROOM), "other")).unwrap();
        assert_eq!(next, ("1@example.org".to_owned(), 4));
    }

    // And what comes next goes on behind it.
    let (kind, data) = (Kind::RoomEnded, Data::Lost { lost: 0 });
    let event = NewEvent { at: now(), room: Some(id(ROOM)), extension: None, kind, data };
    let cursor = change!(store, append_events(&[event])).unwrap();
    let sequence = if schema >= 2 { 3 } else { 1 };
    assert_eq!(store.event(cursor).await.unwrap().unwrap().sequence, sequence);
    change!(store, update_room(id(ROOM), Ok)).unwrap();
    change!(store, delete_room(id(BARE))).unwrap();
}

#[tokio::test]
async fn database_of_a_newer_version_is_refused_by_its_number_and_left_alone() {
    let place = Place::new();
    let newest = newest(place.dialect());
    let (dialect, mut db) = as_of(&place, newest).await;
    let insert = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT {}, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        newest + 1
    );
    sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut db).await.unwrap();
    let before = contents(dialect, &mut db).await;
    let refused = Store::open(&place.config).await.unwrap_err().to_string();
    let reason =
        format!("it was written by a newer version (schema {}; this version knows schemas up to {newest})", newest + 1);
    assert!(refused.starts_with("database ") && refused.ends_with(&reason), "{refused}");
    assert_eq!(contents(dialect, &mut db).await, before);
}

#[tokio::test]
async fn database_with_a_changed_history_is_refused() {
    let place = Place::new();
    let (dialect, mut db) = as_of(&place, 1).await;
    let other = match dialect {
        Dialect::Sqlite => "UPDATE _sqlx_migrations SET checksum = x'00'",
        Dialect::Postgres => "UPDATE _sqlx_migrations SET checksum = '\\x00'",
    };
    sqlx::raw_sql(other).execute(&mut db).await.unwrap();
    let refused = Store::open(&place.config).await.unwrap_err().to_string();
    assert!(refused.ends_with("its schema 1 is another one than this version's"), "{refused}");
}

#[test]
fn both_databases_have_the_same_history() {
    let history = |set: &Migrator| -> Vec<(i64, String)> {
        set.iter().map(|migration| (migration.version, migration.description.to_string())).collect()
    };
    let sqlite = history(&SQLITE);
    assert_eq!(sqlite, history(&POSTGRES));
    assert!(sqlite.iter().map(|(version, _)| *version).eq(1..=newest(Dialect::Sqlite)), "without gaps: {sqlite:?}");
    let back = |set: &Migrator| set.iter().any(|migration| migration.migration_type.is_down_migration());
    assert!(!back(&SQLITE) && !back(&POSTGRES), "forward only");
}
