//! The database as a whole.

use super::testing::Place;
use super::*;

#[tokio::test]
async fn file_is_in_wal_mode_and_commits_reach_the_disk() {
    let place = Place::in_a_file();
    let store = place.open().await;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&store.write).await.unwrap();
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&store.write).await.unwrap();
    assert_eq!((mode.as_str(), synchronous), ("wal", 2));
}

#[tokio::test]
async fn server_that_is_set_to_lose_commits_keeps_ours() {
    let Some(server) = testkit::postgres::test_server() else { return };
    let url = testkit::postgres::fresh_database(&server);
    for (set, holds) in [("off", "on"), ("on", "on"), ("remote_apply", "remote_apply")] {
        let config = DatabaseConfig::Postgres(format!("{url}?options=-csynchronous_commit%3D{set}").parse().unwrap());
        let store = Store::open(&config).await.unwrap();
        let present: String =
            sqlx::query_scalar("SELECT current_setting('synchronous_commit')").fetch_one(&store.write).await.unwrap();
        assert_eq!(present, holds);
        store.close().await;
    }
}

#[tokio::test]
async fn file_is_its_owners_alone_wherever_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::in_a_file();
    let odd = place.dir.path().join("a b?c#d%20é");
    std::fs::create_dir(&odd).unwrap();
    let store = Store::open(&DatabaseConfig::Sqlite(odd.join(Store::FILE))).await.unwrap();
    store.secret("key", b"x").await.unwrap();
    let files: Vec<_> = std::fs::read_dir(&odd).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(files.len() >= 2, "{files:?}");
    for entry in files {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
}

#[tokio::test]
async fn two_processes_can_open_the_database() {
    let (place, first) = testing::store().await;
    let second = place.open().await;
    first.ping().await.unwrap();
    second.ping().await.unwrap();
}

#[tokio::test]
async fn directory_in_the_place_of_the_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open(&DatabaseConfig::Sqlite(dir.path().into())).await.unwrap_err().to_string();
    assert!(error.contains(dir.path().to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn server_that_is_not_there_is_named_without_its_password() {
    let port = testkit::ports::one();
    let url = format!("postgres://user:secret@127.0.0.1:{port}/conclave").parse().unwrap();
    let error = Store::open(&DatabaseConfig::Postgres(url)).await.unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port}/conclave")) && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn reader_cannot_write() {
    let (_place, store) = testing::store().await;
    sqlx::query("DELETE FROM rooms").execute(&store.read).await.unwrap_err();
}

#[tokio::test]
async fn change_that_is_dropped_has_not_happened() {
    let (_place, store) = testing::store().await;
    let mut change = store.change().await.unwrap();
    let (_, record) = crate::auth::new_token(&store, "x", Role::Viewer, None).unwrap();
    change.insert_token(&record).await.unwrap();
    drop(change);
    assert!(store.tokens().await.unwrap().is_empty());
}
