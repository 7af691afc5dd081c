//! Long-lived API tokens for the command line. A running server knows a new token at once, and a revocation within a second.

use std::time::Duration;

use jiff::Timestamp;

use crate::auth;
use crate::command::{commit, open};
use crate::config::Config;
use crate::error::Error;
use crate::ids::Id;
use crate::store::Source;

pub use crate::store::Role;

/// Makes a token; returns its text, which is kept nowhere.
///
/// # Errors
/// When the name is no name, or the database cannot be opened or written.
pub async fn create(config: &Config, name: &str, role: Role, ttl: Option<Duration>) -> Result<String, Error> {
    let store = open(config).await?;
    let (text, record) = auth::new_token(&store, name, role, ttl)?;
    let mut change = store.change().await?;
    change.insert_token(&record).await?;
    commit(change, "token create", &format!("{name} ({})", role.as_str())).await?;
    store.close().await;
    Ok(text)
}

/// One line for each token: id, role, expiry or end, name.
///
/// # Errors
/// When the database cannot be opened or read.
pub async fn list(config: &Config) -> Result<Vec<String>, Error> {
    let store = open(config).await?;
    let tokens = store.tokens().await?;
    store.close().await;
    let now = Timestamp::now();
    let line = |token: &crate::store::TokenRecord| {
        let standing = match (token.revoked_at, token.expires_at) {
            (Some(at), _) => format!("revoked {at:.0}"),
            (None, Some(at)) if at <= now => format!("expired {at:.0}"),
            (None, Some(at)) => format!("until {at:.0}"),
            (None, None) => "no expiry".to_owned(),
        };
        let source = if token.source == Source::Config { " (auth.tokens)" } else { "" };
        format!("{}  {:<8}  {:<28}  {}{source}", token.id, token.role.as_str(), standing, token.name)
    };
    Ok(tokens.iter().map(line).collect())
}

/// Makes a token worthless. `id` is as `list` shows it.
///
/// # Errors
/// When there is no such token, or the database cannot be opened or written.
pub async fn revoke(config: &Config, id: &str) -> Result<(), Error> {
    let id = Id::parse(id).ok_or(Error::NotFound("token"))?;
    let store = open(config).await?;
    let mut change = store.change().await?;
    let name = change.revoke_token(id).await?;
    commit(change, "token revoke", &name).await?;
    store.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loaded, Sources};

    fn config(dir: &tempfile::TempDir) -> Config {
        let env = vec![("CONCLAVE__DATA_DIR".to_owned(), dir.path().to_str().unwrap().to_owned())];
        Loaded::read(&Sources { env, ..Sources::default() }).unwrap().config
    }

    #[tokio::test]
    async fn token_is_made_listed_and_revoked_beside_an_open_store() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir);
        let server = open(&config).await.unwrap();
        let known = auth::Tokens::new(server, config.live.clone(), 300);
        let here = std::net::IpAddr::from([127, 0, 0, 1]);
        let text = create(&config, "portal", Role::Viewer, Some(Duration::from_secs(60))).await.unwrap();
        known.identify(&text, here).await.unwrap();
        let lines = list(&config).await.unwrap();
        assert!(lines.len() == 1 && lines[0].contains("viewer") && lines[0].ends_with("portal"), "{lines:?}");
        let id = lines[0].split(' ').next().unwrap();
        revoke(&config, id).await.unwrap();
        known.age(Duration::from_secs(1));
        assert!(matches!(known.identify(&text, here).await, Err(Error::Unauthorized(_))));
        assert!(list(&config).await.unwrap()[0].contains("revoked"));
        let text = create(&config, "next", Role::Admin, None).await.unwrap();
        known.identify(&text, here).await.unwrap();
        assert_eq!(revoke(&config, "nonsense").await.unwrap_err(), Error::NotFound("token"));
    }
}
