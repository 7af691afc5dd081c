//! What has to be done about tokens every now and then, on a task of its own: expired ones are removed, and what was changed
//! on the command line gets its audit line in the server's log.

use std::time::Duration;

use crate::error::Error;
use crate::store::{self, Store};

/// How soon a change on the command line is in the log.
const EVERY: Duration = Duration::from_secs(5);
/// Expired tokens are removed at every so many of those.
const SWEEP_EVERY: u32 = 120;

/// Does it until it is dropped. A database that is away is not: the next time will do.
pub async fn keep_house(store: Store) {
    let mut every = tokio::time::interval(EVERY);
    for round in (0..SWEEP_EVERY).cycle() {
        every.tick().await;
        if let Err(error) = look(&store, round == 0).await {
            tracing::debug!(%error, "tokens were not looked after");
        }
    }
}

async fn look(store: &Store, sweep: bool) -> Result<(), Error> {
    for note in store.take_command_notes().await? {
        let (at, who, action, subject) = (note.at, note.who, note.action, note.subject);
        tracing::info!(target: "audit", %at, who, action, subject, "change on the command line");
    }
    if sweep {
        let mut change = store.change().await?;
        change.sweep_tokens(store::now()).await?;
        change.commit().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::new_token;
    use crate::store::testing::change;
    use crate::store::{Role, testing};

    #[tokio::test]
    async fn change_on_the_command_line_is_told_once() {
        let (_dir, store) = testing::store().await;
        change!(store, note_command("uid 0", "user add", "alice")).unwrap();
        change!(store, note_command("uid 0", "user remove", "alice")).unwrap();
        let notes = store.take_command_notes().await.unwrap();
        assert_eq!(notes.iter().map(|note| note.action.as_str()).collect::<Vec<_>>(), ["user add", "user remove"]);
        look(&store, true).await.unwrap();
        assert!(store.take_command_notes().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn long_lived_tokens_are_listed_for_a_while_after_their_end() {
        let (_dir, store) = testing::store().await;
        let (_, mut old) = new_token(&store, "old", Role::Viewer, Some(Duration::from_secs(1))).unwrap();
        old.expires_at = Some(store::now() - Duration::from_secs(31 * 86_400));
        let (_, mut ended) = new_token(&store, "ended", Role::Viewer, Some(Duration::from_secs(1))).unwrap();
        ended.expires_at = Some(store::now());
        let (_, present) = new_token(&store, "present", Role::Viewer, None).unwrap();
        for token in [old, ended, present] {
            change!(store, insert_token(&token)).unwrap();
        }
        look(&store, true).await.unwrap();
        let names: Vec<String> = store.tokens().await.unwrap().into_iter().map(|token| token.name).collect();
        assert_eq!(names, ["ended", "present"]);
    }
}
