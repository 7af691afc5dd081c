//! The life of a session.

use super::*;
use crate::auth::password_hash;
use crate::config::{Loaded, Sources};
use crate::store::testing::{Place, change};
use crate::store::{Source, testing};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Door {
    _place: Place,
    store: Store,
    tokens: Tokens,
    sign_in: SignIn,
    alice: UserRecord,
}

async fn door() -> Door {
    let (place, store) = testing::store().await;
    let config = Loaded::read(&Sources::default()).unwrap().config;
    let tokens = Tokens::new(store.clone(), config.live.clone(), config.auth.failures_per_minute);
    let sign_in = SignIn::new(store.clone(), tokens.clone(), &config.auth);
    let now = store::now();
    let alice = UserRecord {
        id: store.ids().next(),
        name: "alice".into(),
        role: Role::Operator,
        password_hash: password_hash("correct horse").unwrap(),
        source: Source::Cli,
        created_at: now,
        changed_at: now,
    };
    change!(store, insert_user(&alice)).unwrap();
    Door { _place: place, store, tokens, sign_in, alice }
}

impl Door {
    async fn enter(&self) -> Granted {
        self.sign_in.sign_in("alice", "correct horse", HERE).await.unwrap()
    }

    async fn opens(&self, token: &str) -> bool {
        self.tokens.identify(token, HERE).await.is_ok()
    }
}

#[tokio::test]
async fn password_opens_a_session_with_the_users_name_and_role() {
    let door = door().await;
    let granted = door.enter().await;
    let who = door.tokens.identify(&granted.access_token, HERE).await.unwrap();
    assert_eq!((who.name.as_str(), who.role, who.session.unwrap().user), ("alice", Role::Operator, door.alice.id));
    assert!(!door.opens(&granted.refresh_token).await, "a refresh token is no bearer token");
    assert!(door.store.tokens().await.unwrap().is_empty(), "tokens of sessions are not listed");
    for (name, password) in [("alice", "correct horsf"), ("bob", "correct horse"), ("Alice", "correct horse")] {
        assert_eq!(door.sign_in.sign_in(name, password, HERE).await, Err(WRONG));
    }
}

#[tokio::test]
async fn refresh_gives_new_tokens_and_the_old_ones_end() {
    let door = door().await;
    let first = door.enter().await;
    let second = door.sign_in.refresh(&first.refresh_token, HERE).await.unwrap();
    assert!(door.opens(&second.access_token).await);
    assert!(door.opens(&first.access_token).await, "requests with it may be on their way");
    let old = door.store.token(&digest(&first.access_token)).await.unwrap().unwrap();
    assert!(old.expires_at.unwrap() <= store::now() + OVERLAP);
    for wrong in [&first.access_token, &second.access_token, "nothing"] {
        assert_eq!(door.sign_in.refresh(wrong, HERE).await, Err(NO_REFRESH));
    }
    door.sign_in.refresh(&second.refresh_token, HERE).await.unwrap();
}

#[tokio::test]
async fn refresh_token_that_is_used_twice_ends_its_session_and_no_other() {
    let door = door().await;
    let (first, other) = (door.enter().await, door.enter().await);
    let second = door.sign_in.refresh(&first.refresh_token, HERE).await.unwrap();
    assert!(door.opens(&second.access_token).await);
    assert_eq!(door.sign_in.refresh(&first.refresh_token, HERE).await, Err(REUSED));
    for ended in [&first.access_token, &second.access_token] {
        assert!(!door.opens(ended).await);
    }
    assert_eq!(door.sign_in.refresh(&second.refresh_token, HERE).await, Err(NO_REFRESH));
    assert!(door.opens(&other.access_token).await);
}

#[tokio::test]
async fn who_was_let_in_may_stay_until_the_session_or_the_token_ends() {
    let door = door().await;
    let granted = door.enter().await;
    let who = door.tokens.identify(&granted.access_token, HERE).await.unwrap();
    let (text, record) = crate::auth::new_token(&door.store, "portal", Role::Admin, None).unwrap();
    change!(door.store, insert_token(&record)).unwrap();
    let portal = door.tokens.identify(&text, HERE).await.unwrap();
    assert!(door.tokens.still_holds(&who).await.unwrap() && door.tokens.still_holds(&portal).await.unwrap());
    let access = door.store.token(&digest(&granted.access_token)).await.unwrap().unwrap();
    change!(door.store, sweep_tokens(access.expires_at.unwrap())).unwrap();
    assert!(door.tokens.still_holds(&who).await.unwrap(), "the session can be refreshed");
    door.sign_in.sign_out(&who).await.unwrap();
    change!(door.store, revoke_token(record.id)).unwrap();
    assert!(!door.tokens.still_holds(&who).await.unwrap() && !door.tokens.still_holds(&portal).await.unwrap());
}

#[tokio::test]
async fn of_many_refreshes_at_once_one_succeeds() {
    let door = door().await;
    let first = door.enter().await;
    let refresh = || door.sign_in.refresh(&first.refresh_token, HERE);
    let (a, b, c) = tokio::join!(refresh(), refresh(), refresh());
    assert_eq!([a, b, c].iter().filter(|granted| granted.is_ok()).count(), 1);
}

#[tokio::test]
async fn signing_out_ends_the_session_at_once() {
    let door = door().await;
    let granted = door.enter().await;
    let who = door.tokens.identify(&granted.access_token, HERE).await.unwrap();
    door.sign_in.sign_out(&who).await.unwrap();
    assert!(!door.opens(&granted.access_token).await);
    assert_eq!(door.sign_in.refresh(&granted.refresh_token, HERE).await, Err(NO_REFRESH));

    let granted = door.enter().await;
    assert!(door.opens(&granted.access_token).await);
    assert_eq!(door.sign_in.revoke(&granted.refresh_token, HERE).await, Ok(Some("alice".into())));
    assert!(!door.opens(&granted.access_token).await);
    assert_eq!(door.sign_in.revoke(&granted.refresh_token, HERE).await, Ok(None));
}

#[tokio::test]
async fn long_lived_token_has_no_session_to_end() {
    let door = door().await;
    let (text, record) = crate::auth::new_token(&door.store, "portal", Role::Admin, None).unwrap();
    change!(door.store, insert_token(&record)).unwrap();
    let who = door.tokens.identify(&text, HERE).await.unwrap();
    let refused = Err(Error::InvalidState(NO_SESSION.into()));
    assert_eq!(door.sign_in.sign_out(&who).await, refused);
    assert_eq!(door.sign_in.revoke(&text, HERE).await, refused.map(|()| None));
    assert!(door.opens(&text).await);
}

#[tokio::test]
async fn changing_or_removing_a_user_ends_the_sessions() {
    let door = door().await;
    let granted = door.enter().await;
    let hash = password_hash("battery staple").unwrap();
    change!(door.store, update_user(door.alice.id, Role::Operator, &hash, Source::Cli)).unwrap();
    assert!(!door.opens(&granted.access_token).await);
    assert_eq!(door.sign_in.sign_in("alice", "correct horse", HERE).await, Err(WRONG));
    let granted = door.sign_in.sign_in("alice", "battery staple", HERE).await.unwrap();
    change!(door.store, remove_user(door.alice.id)).unwrap();
    assert!(!door.opens(&granted.access_token).await);
    assert_eq!(door.sign_in.refresh(&granted.refresh_token, HERE).await, Err(NO_REFRESH));
    assert_eq!(door.sign_in.sign_in("alice", "battery staple", HERE).await, Err(WRONG));
}

#[tokio::test]
async fn user_that_was_changed_while_the_password_was_compared_opens_nothing() {
    let door = door().await;
    let hash = password_hash("battery staple").unwrap();
    change!(door.store, update_user(door.alice.id, Role::Operator, &hash, Source::Cli)).unwrap();
    assert_eq!(door.sign_in.open(&door.alice).await, Err(WRONG));
}

#[tokio::test]
async fn too_many_failures_lock_out_even_the_right_password() {
    let door = door().await;
    for _ in 0..5 {
        assert_eq!(door.sign_in.sign_in("alice", "guess", HERE).await, Err(WRONG));
    }
    let refused = door.sign_in.sign_in("alice", "correct horse", [192, 0, 2, 1].into()).await;
    let Err(Error::Slowed { retry_after_s, .. }) = refused else { panic!("{refused:?}") };
    assert!((1..=30).contains(&retry_after_s));
}

#[tokio::test]
async fn lost_database_is_no_failed_attempt() {
    let door = door().await;
    door.store.close().await;
    for _ in 0..10 {
        let refused = door.sign_in.sign_in("alice", "correct horse", HERE).await;
        assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn sessions_that_have_expired_are_swept() {
    let door = door().await;
    let granted = door.enter().await;
    let access = door.store.token(&digest(&granted.access_token)).await.unwrap().unwrap();
    change!(door.store, sweep_tokens(access.expires_at.unwrap())).unwrap();
    assert!(door.store.token(&access.digest).await.unwrap().is_none());
    door.sign_in.refresh(&granted.refresh_token, HERE).await.unwrap();
}

#[tokio::test]
async fn oldest_session_of_too_many_ends() {
    let door = door().await;
    let (oldest, next) = (door.enter().await, door.enter().await);
    let mut change = door.store.change().await.unwrap();
    for _ in 2..1000 {
        let session = Session { id: door.store.ids().next(), user: door.alice.id };
        let (_, token) =
            make_token(&door.store, "alice", Role::Viewer, TokenKind::Refresh, Some(session), Some(OVERLAP)).unwrap();
        change.insert_token(&token).await.unwrap();
    }
    change.commit().await.unwrap();
    let newest = door.enter().await;
    assert!(!door.opens(&oldest.access_token).await);
    assert!(door.opens(&next.access_token).await && door.opens(&newest.access_token).await);
}
