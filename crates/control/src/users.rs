//! Users for the command line, as `tokens` is for tokens. Whoever is changed or removed has no session any more; a running
//! server knows within a second.

use crate::auth;
use crate::command::{commit, open};
use crate::config::Config;
use crate::error::Error;
use crate::store::{self, Role, Source, Store, UserRecord};

/// Makes a user.
///
/// # Errors
/// When name or password are none, the name is taken, or the database cannot be opened or written.
pub async fn add(config: &Config, name: &str, role: Role, password: &str) -> Result<(), Error> {
    auth::check_name(name)?;
    let password_hash = hash(password)?;
    let store = open(config).await?;
    let now = store::now();
    let user = UserRecord {
        id: store.ids().next(),
        name: name.to_owned(),
        role,
        password_hash,
        source: Source::Cli,
        created_at: now,
        changed_at: now,
    };
    let mut change = store.change().await?;
    change.insert_user(&user).await?;
    commit(change, "user add", &format!("{name} ({})", role.as_str())).await?;
    store.close().await;
    Ok(())
}

/// One line for each user: role, source, last change, name.
///
/// # Errors
/// When the database cannot be opened or read.
pub async fn list(config: &Config) -> Result<Vec<String>, Error> {
    let store = open(config).await?;
    let users = store.users().await?;
    store.close().await;
    let line = |user: &UserRecord| {
        let source = match user.source {
            Source::Cli => "command line",
            Source::Config => "auth.users",
        };
        format!("{:<8}  {source:<12}  changed {:.0}  {}", user.role.as_str(), user.changed_at, user.name)
    };
    Ok(users.iter().map(line).collect())
}

/// Gives a user another password.
///
/// # Errors
/// When there is no such user, it is the configuration's, the password is none, or the database cannot be opened or written.
pub async fn set_password(config: &Config, name: &str, password: &str) -> Result<(), Error> {
    let password_hash = hash(password)?;
    let store = open(config).await?;
    let user = ours(&store, name).await?;
    let mut change = store.change().await?;
    change.update_user(user.id, user.role, &password_hash, Source::Cli).await?;
    commit(change, "user password", name).await?;
    store.close().await;
    Ok(())
}

/// Removes a user.
///
/// # Errors
/// When there is no such user, it is the configuration's, or the database cannot be opened or written.
pub async fn remove(config: &Config, name: &str) -> Result<(), Error> {
    let store = open(config).await?;
    let user = ours(&store, name).await?;
    let mut change = store.change().await?;
    change.remove_user(user.id).await?;
    commit(change, "user remove", name).await?;
    store.close().await;
    Ok(())
}

/// The hash of a password, for `auth.users`.
///
/// # Errors
/// When the password is none.
pub fn hash(password: &str) -> Result<String, Error> {
    auth::check_strength(password)?;
    auth::password_hash(password)
}

async fn ours(store: &Store, name: &str) -> Result<UserRecord, Error> {
    match store.user(name).await? {
        None => Err(Error::NotFound("user")),
        Some(user) if user.source == Source::Config => {
            Err(Error::InvalidState("the user is the configuration's: change auth.users and restart the server".into()))
        }
        Some(user) => Ok(user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loaded, Sources};

    fn config(dir: &tempfile::TempDir, more: &[(&str, &str)]) -> Config {
        let mut env = vec![("CONCLAVE__DATA_DIR".to_owned(), dir.path().to_str().unwrap().to_owned())];
        env.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        Loaded::read(&Sources { env, ..Sources::default() }).unwrap().config
    }

    #[tokio::test]
    async fn user_is_made_listed_changed_and_removed_beside_an_open_store() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir, &[]);
        let server = open(&config).await.unwrap();
        add(&config, "alice", Role::Admin, "correct horse").await.unwrap();
        let first = server.user("alice").await.unwrap().unwrap();
        assert!(first.password_hash.starts_with("$argon2id$") && !first.password_hash.contains("horse"));
        let taken = add(&config, "alice", Role::Viewer, "correct horse").await.unwrap_err();
        assert_eq!(taken.to_string(), "there is a user alice already");
        let lines = list(&config).await.unwrap();
        assert!(lines.len() == 1 && lines[0].starts_with("admin ") && lines[0].ends_with("  alice"), "{lines:?}");
        set_password(&config, "alice", "battery staple").await.unwrap();
        assert_ne!(server.user("alice").await.unwrap().unwrap().password_hash, first.password_hash);
        remove(&config, "alice").await.unwrap();
        assert_eq!(remove(&config, "alice").await, Err(Error::NotFound("user")));
        let notes = server.take_command_notes().await.unwrap();
        let told: Vec<String> = notes.iter().map(|note| format!("{} {}", note.action, note.subject)).collect();
        assert_eq!(told, ["user add alice (admin)", "user password alice", "user remove alice"]);
        assert!(notes[0].who.starts_with("uid "));
    }

    #[tokio::test]
    async fn user_of_the_configuration_is_changed_there() {
        let dir = tempfile::tempdir().unwrap();
        let entry = format!("[\"bob viewer {}\"]", hash("correct horse").unwrap());
        let config = config(&dir, &[("CONCLAVE__AUTH__USERS", &entry)]);
        let store = open(&config).await.unwrap();
        auth::keep_in_step(&store, &config.auth).await.unwrap();
        for refused in [set_password(&config, "bob", "battery staple").await, remove(&config, "bob").await] {
            assert!(matches!(refused, Err(Error::InvalidState(_))), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn weak_password_makes_no_user() {
        let dir = tempfile::tempdir().unwrap();
        let refused = add(&config(&dir, &[]), "alice", Role::Viewer, "1234567").await;
        assert!(matches!(refused, Err(Error::Invalid(_))));
    }
}
