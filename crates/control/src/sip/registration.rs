//! Our registrations at a PBX and at trunks (RFC 3261 §10): which there have to be, and one task for each that keeps it. Runs on
//! the tokio runtime. What the addresses reach, and how a call comes in over them, is not its matter.

mod keeping;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::ingress::Stack;
use crate::config::{PbxConfig, PbxMode, SipCredentials};
use crate::dialing::{TransportChoice, Trunk};
use keeping::keep;

/// REGISTERs on their way at once: a PBX is not flooded when a thousand rooms start.
const AT_ONCE: usize = 16;
/// How long registrations may take to be taken back when the server stops.
const LEAVE_TIME: Duration = Duration::from_secs(3);

/// The extensions that there are; whoever makes and destroys rooms keeps it.
pub type Extensions = watch::Receiver<Arc<BTreeSet<String>>>;

/// One address of record to keep registered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    /// `pbx`, or the trunk's name, for metrics and logs.
    peer: String,
    user: String,
    domain: String,
    host: String,
    port: Option<u16>,
    transport: TransportChoice,
    credentials: Option<SipCredentials>,
    expires: Duration,
}

impl Account {
    fn of_trunk(trunk: &Trunk) -> Option<Self> {
        let expires = trunk.register?;
        Some(Self {
            peer: trunk.name.clone(),
            user: trunk.credentials.as_ref()?.user.clone(),
            domain: trunk.domain.clone(),
            host: trunk.host.clone(),
            port: trunk.port,
            transport: trunk.transport,
            credentials: trunk.credentials.clone(),
            expires,
        })
    }

    fn of_pbx(pbx: &PbxConfig, user: &str) -> Self {
        Self {
            peer: PBX.to_owned(),
            user: user.to_owned(),
            domain: pbx.domain.clone(),
            host: pbx.host.clone(),
            port: pbx.port,
            transport: pbx.transport,
            credentials: pbx.credentials(user),
            expires: pbx.expires,
        }
    }
}

/// The PBX's name among the trunks', which may not have it for a label of its own.
pub(super) const PBX: &str = "pbx";

/// What has to be registered while these extensions exist, by a name that tells one from all others.
fn accounts(
    trunks: &[Arc<Trunk>],
    pbx: Option<&PbxConfig>,
    extensions: &BTreeSet<String>,
) -> BTreeMap<String, Account> {
    let of_trunks = trunks.iter().filter_map(|trunk| Account::of_trunk(trunk));
    let of_pbx: Vec<Account> = match pbx {
        None => Vec::new(),
        Some(pbx) => match &pbx.mode {
            PbxMode::Rooms => extensions.iter().map(|extension| Account::of_pbx(pbx, extension)).collect(),
            PbxMode::Account(user) => vec![Account::of_pbx(pbx, user)],
        },
    };
    let named = |account: Account| (format!("{} {}", account.peer, account.user), account);
    of_trunks.chain(of_pbx).map(named).collect()
}

/// The users that calls over a registration come in for without saying more: the extension is then in To.
pub(super) fn shared_users(trunks: &[Arc<Trunk>], pbx: Option<&PbxConfig>) -> BTreeSet<String> {
    let of_trunks = trunks.iter().filter_map(|trunk| Account::of_trunk(trunk)).map(|account| account.user);
    let of_pbx = pbx.and_then(|pbx| match &pbx.mode {
        PbxMode::Account(user) => Some(user.clone()),
        PbxMode::Rooms => None,
    });
    of_trunks.chain(of_pbx).collect()
}

/// Keeps everything registered until `end`, then takes it back. Follows `extensions`.
pub(super) async fn run(
    stack: Arc<Stack>,
    trunks: Vec<Arc<Trunk>>,
    pbx: Option<PbxConfig>,
    mut extensions: Extensions,
    end: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut kept: BTreeMap<String, CancellationToken> = BTreeMap::new();
    let mut tasks: JoinSet<()> = JoinSet::new();
    let mut told = true;
    loop {
        let wanted = accounts(&trunks, pbx.as_ref(), &extensions.borrow_and_update().clone());
        kept.retain(|name, end| {
            let stays = wanted.contains_key(name);
            if !stays {
                end.cancel();
            }
            stays
        });
        for (name, account) in wanted {
            kept.entry(name).or_insert_with(|| {
                let end = end.child_token();
                tasks.spawn(keep(Arc::clone(&stack), account, Arc::clone(&places), end.clone()));
                end
            });
        }
        loop {
            tokio::select! {
                () = end.cancelled() => {
                    let until = Instant::now() + LEAVE_TIME;
                    while let Ok(Some(ended)) = timeout_at(until, tasks.join_next()).await {
                        note(&stack, &ended);
                    }
                    return;
                }
                changed = extensions.changed(), if told => match changed {
                    Ok(()) => break,
                    // Nobody tells any more: what is registered stays so.
                    Err(_) => told = false,
                },
                Some(ended) = tasks.join_next() => note(&stack, &ended),
            }
        }
    }
}

fn note(stack: &Stack, ended: &Result<(), tokio::task::JoinError>) {
    if ended.as_ref().is_err_and(tokio::task::JoinError::is_panic) {
        tracing::warn!("a registration's task panicked; it is not kept any more");
        stack.metrics.panicked();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pbx(mode: PbxMode) -> PbxConfig {
        PbxConfig {
            mode,
            host: "10.0.0.1".to_owned(),
            port: None,
            transport: TransportChoice::Udp,
            domain: "example.com".to_owned(),
            login: Some(SipCredentials { user: String::new(), password: "pw-{extension}".to_owned(), realm: None }),
            expires: Duration::from_secs(600),
        }
    }

    #[test]
    fn each_room_or_the_account_is_registered_with_its_own_password() {
        let extensions: BTreeSet<String> = ["100", "200"].map(str::to_owned).into();
        let rooms = accounts(&[], Some(&pbx(PbxMode::Rooms)), &extensions);
        let passwords: Vec<&str> =
            rooms.values().filter_map(|a| Some(a.credentials.as_ref()?.password.as_str())).collect();
        assert_eq!(passwords, ["pw-100", "pw-200"]);
        let one = pbx(PbxMode::Account("conf".to_owned()));
        let account = accounts(&[], Some(&one), &extensions);
        assert_eq!(account.values().map(|a| a.user.as_str()).collect::<Vec<_>>(), ["conf"]);
        assert!(shared_users(&[], Some(&one)).contains("conf"));
        assert!(shared_users(&[], Some(&pbx(PbxMode::Rooms))).is_empty());
        assert!(accounts(&[], None, &extensions).is_empty());
    }
}
