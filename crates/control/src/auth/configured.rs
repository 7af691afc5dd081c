//! Users and tokens of the configuration, brought in step with the database at each start: what is new or changed there is
//! so here, what left it ends. Then everything else knows only the database.

use super::{check_name, make_token};
use crate::config::{AuthConfig, TokenEntry, UserEntry};
use crate::error::Error;
use crate::store::{self, Source, Store, TokenKind, UserRecord};

/// Does it, for users in one change and for tokens in another.
///
/// # Errors
/// `Busy` when the database cannot be written.
pub async fn keep_in_step(store: &Store, config: &AuthConfig) -> Result<(), Error> {
    users(store, &config.users).await?;
    tokens(store, &config.tokens).await
}

async fn users(store: &Store, entries: &[UserEntry]) -> Result<(), Error> {
    let present = store.users().await?;
    let mut change = store.change().await?;
    for UserEntry { name, role, password_hash } in entries {
        let action = match present.iter().find(|user| user.name == *name) {
            None => {
                let now = store::now();
                let user = UserRecord {
                    id: store.ids().next(),
                    name: name.clone(),
                    role: *role,
                    password_hash: password_hash.clone(),
                    source: Source::Config,
                    created_at: now,
                    changed_at: now,
                };
                change.insert_user(&user).await?;
                "user add"
            }
            Some(user)
                if user.source == Source::Config && user.role == *role && user.password_hash == *password_hash =>
            {
                continue;
            }
            Some(user) => {
                if user.source == Source::Cli {
                    tracing::warn!(user = name, "was made by `conclave user add`, and is auth.users' from now on");
                }
                change.update_user(user.id, *role, password_hash, Source::Config).await?;
                "user change"
            }
        };
        tell(action, name);
    }
    for user in present.iter().filter(|user| user.source == Source::Config) {
        if !entries.iter().any(|entry| entry.name == user.name) {
            change.remove_user(user.id).await?;
            tell("user remove", &user.name);
        }
    }
    change.commit().await
}

async fn tokens(store: &Store, entries: &[TokenEntry]) -> Result<(), Error> {
    let present = store.tokens().await?;
    let mut change = store.change().await?;
    for TokenEntry { name, role, digest } in entries {
        check_name(name)?;
        let (_, mut token) = make_token(store, name, *role, TokenKind::Api, None, None)?;
        (token.digest, token.source) = (*digest, Source::Config);
        if change.keep_configured_token(&token).await? {
            tell("token keep", name);
        }
        if present.iter().any(|token| token.digest == *digest && token.revoked_at.is_some()) {
            tracing::warn!(token = name, "was revoked, and stays so: take it out of auth.tokens");
        }
    }
    for token in present.iter().filter(|token| token.source == Source::Config) {
        if !entries.iter().any(|entry| entry.digest == token.digest) {
            change.remove_configured_token(&token.digest).await?;
            tell("token remove", &token.name);
        }
    }
    change.commit().await
}

fn tell(action: &str, subject: &str) {
    tracing::info!(target: "audit", who = "configuration", action, subject, "change");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::digest;
    use crate::store::testing::change;
    use crate::store::{Role, testing};

    fn config(users: &[(&str, Role, &str)], tokens: &[(&str, Role, &str)]) -> AuthConfig {
        let mut config = crate::config::Loaded::read(&crate::config::Sources::default()).unwrap().config.auth;
        let user = |(name, role, hash): &(&str, Role, &str)| UserEntry {
            name: (*name).into(),
            role: *role,
            password_hash: (*hash).into(),
        };
        let token = |(name, role, text): &(&str, Role, &str)| TokenEntry {
            name: (*name).into(),
            role: *role,
            digest: digest(text),
        };
        config.users = users.iter().map(user).collect();
        config.tokens = tokens.iter().map(token).collect();
        config
    }

    async fn names(store: &Store) -> Vec<String> {
        let users =
            store.users().await.unwrap().into_iter().map(|user| format!("{}:{}", user.name, user.role.as_str()));
        let tokens = store.tokens().await.unwrap();
        users.chain(tokens.into_iter().map(|token| format!("{}={}", token.name, token.role.as_str()))).collect()
    }

    #[tokio::test]
    async fn what_the_configuration_has_is_there_and_what_left_it_is_gone() {
        let (_dir, store) = testing::store().await;
        let both =
            config(&[("alice", Role::Admin, "h1"), ("bob", Role::Viewer, "h2")], &[("portal", Role::Viewer, "t")]);
        keep_in_step(&store, &both).await.unwrap();
        let before = store.users().await.unwrap();
        keep_in_step(&store, &both).await.unwrap();
        assert_eq!(store.users().await.unwrap(), before);
        assert_eq!(names(&store).await, ["alice:admin", "bob:viewer", "portal=viewer"]);
        let changed = config(&[("alice", Role::Viewer, "h1")], &[("door", Role::Operator, "t")]);
        keep_in_step(&store, &changed).await.unwrap();
        assert_eq!(names(&store).await, ["alice:viewer", "door=operator"]);
        keep_in_step(&store, &config(&[], &[])).await.unwrap();
        assert!(names(&store).await.is_empty());
    }

    #[tokio::test]
    async fn what_the_command_line_made_stays() {
        let (_dir, store) = testing::store().await;
        let now = store::now();
        let carol = UserRecord {
            id: store.ids().next(),
            name: "carol".into(),
            role: Role::Viewer,
            password_hash: "h".into(),
            source: Source::Cli,
            created_at: now,
            changed_at: now,
        };
        change!(store, insert_user(&carol)).unwrap();
        let (_, token) = crate::auth::new_token(&store, "script", Role::Viewer, None).unwrap();
        change!(store, insert_token(&token)).unwrap();
        keep_in_step(&store, &config(&[], &[])).await.unwrap();
        assert_eq!(names(&store).await, ["carol:viewer", "script=viewer"]);
    }

    #[tokio::test]
    async fn token_that_was_revoked_by_hand_stays_so_until_it_leaves_the_configuration() {
        let (_dir, store) = testing::store().await;
        let with = config(&[], &[("portal", Role::Viewer, "t")]);
        keep_in_step(&store, &with).await.unwrap();
        let id = store.tokens().await.unwrap()[0].id;
        change!(store, revoke_token(id)).unwrap();
        keep_in_step(&store, &with).await.unwrap();
        assert!(store.tokens().await.unwrap()[0].revoked_at.is_some());
        keep_in_step(&store, &config(&[], &[])).await.unwrap();
        keep_in_step(&store, &with).await.unwrap();
        assert!(store.tokens().await.unwrap()[0].revoked_at.is_none());
    }
}
