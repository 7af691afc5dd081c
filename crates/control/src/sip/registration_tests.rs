//! Registrations over real loopback sockets: the registrar is testkit's, which knows nothing of our code.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use testkit::sip_ua::Transport;
use testkit::sip_uas::digest::Gate;
use testkit::sip_uas::{Binding, SipUas};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::loopback_tests::{House, PATIENCE, settings};
use super::metrics::RegistrationState;
use super::registration::run;
use crate::config::{PbxConfig, PbxMode, SipCredentials};
use crate::dialing::{TransportChoice, Trunk};

fn pbx(registrar: SocketAddr, mode: PbxMode, transport: TransportChoice) -> PbxConfig {
    PbxConfig {
        mode,
        host: registrar.ip().to_string(),
        port: Some(registrar.port()),
        transport,
        domain: "example.com".to_owned(),
        login: Some(SipCredentials { user: "all".to_owned(), password: "secret".to_owned(), realm: None }),
        expires: Duration::from_secs(600),
    }
}

fn set(extensions: &[&str]) -> Arc<BTreeSet<String>> {
    Arc::new(extensions.iter().map(|e| (*e).to_owned()).collect())
}

/// Registrations that run, and how to change and end them.
struct Kept {
    house: House,
    known: watch::Sender<Arc<BTreeSet<String>>>,
    end: CancellationToken,
    running: JoinHandle<()>,
}

impl Kept {
    async fn start(trunks: Vec<Arc<Trunk>>, pbx: Option<PbxConfig>, extensions: &[&str]) -> Self {
        let house = House::open(settings()).await;
        let (known, extensions) = watch::channel(set(extensions));
        let end = CancellationToken::new();
        let running = tokio::spawn(run(Arc::clone(&house.front.stack), trunks, pbx, extensions, end.clone()));
        Self { house, known, end, running }
    }

    async fn stop(self) -> House {
        self.end.cancel();
        timeout(PATIENCE, self.running).await.expect("it ends in time").unwrap();
        self.house
    }

    fn count(&self, peer: &str, state: RegistrationState) -> i64 {
        self.house.metrics.registration_count(peer, state)
    }
}

async fn wait<T: Send + 'static>(
    uas: &Arc<SipUas>,
    what: &'static str,
    look: impl FnMut(&[Binding]) -> Option<T> + Send + 'static,
) -> T {
    let uas = Arc::clone(uas);
    tokio::task::spawn_blocking(move || uas.wait_bindings(what, look)).await.unwrap()
}

fn users(bindings: &[Binding]) -> Vec<String> {
    bindings.iter().map(|b| b.address_of_record.clone()).collect()
}

async fn wait_users(uas: &Arc<SipUas>, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|user| format!("sip:{user}@example.com")).collect();
    wait(uas, "these users", move |bindings| (users(bindings) == expected).then_some(())).await;
}

/// The gauges follow the registrar's answer by a moment.
async fn until(mut holds: impl FnMut() -> bool) {
    timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it comes to be in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_room_is_registered_while_it_exists_on_both_transports() {
    for (choice, transport) in [(TransportChoice::Udp, Transport::Udp), (TransportChoice::Tcp, Transport::Tcp)] {
        let uas = Arc::new(SipUas::start());
        uas.require(Gate::new("all", "secret", &["MD5", "SHA-256"]));
        let kept = Kept::start(Vec::new(), Some(pbx(uas.address(), PbxMode::Rooms, choice)), &["100", "200"]).await;
        wait_users(&uas, &["100", "200"]).await;
        until(|| kept.count("pbx", RegistrationState::Registered) == 2).await;
        let ours = kept.house.front.udp.unwrap();
        let expected = match transport {
            Transport::Udp => format!("sip:100@{ours}"),
            Transport::Tcp | Transport::Ws => format!("sip:100@{ours};transport=tcp"),
        };
        assert_eq!(uas.bindings()[0].contact, expected);
        assert!(uas.of_method("REGISTER").iter().all(|seen| seen.transport == transport));

        kept.known.send_replace(set(&["200", "300"]));
        wait_users(&uas, &["200", "300"]).await;
        until(|| kept.count("pbx", RegistrationState::Registered) == 2).await;
        // What stays is not registered anew.
        assert_eq!(uas.bindings()[0].refreshed, 1);
        if transport == Transport::Tcp {
            assert_eq!(kept.house.metrics.tcp_connections.get(), 1, "all share one connection");
        }
        let house = kept.stop().await;
        assert_eq!(uas.bindings(), []);
        for state in [RegistrationState::Registered, RegistrationState::Registering, RegistrationState::Failed] {
            assert_eq!(house.metrics.registration_count("pbx", state), 0, "{state:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_id_and_growing_numbers_name_a_registration() {
    let uas = Arc::new(SipUas::start());
    uas.require(Gate::new("all", "secret", &["SHA-256"]).stale(1));
    let account = PbxMode::Account("conf".to_owned());
    let kept = Kept::start(Vec::new(), Some(pbx(uas.address(), account, TransportChoice::Udp)), &["100"]).await;
    wait_users(&uas, &["conf"]).await;
    kept.stop().await;
    let registers = uas.of_method("REGISTER");
    assert!(registers.len() >= 4, "a challenge, a stale nonce, and taking back: {}", registers.len());
    let numbers: Vec<u32> = registers.iter().map(|seen| seen.message.cseq().unwrap().0).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let call_ids: BTreeSet<&str> = registers.iter().filter_map(|seen| seen.message.header("Call-ID")).collect();
    assert_eq!(call_ids.len(), 1);
    assert_eq!(uas.bindings(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrar_that_wants_longer_gets_longer_and_a_short_one_is_refreshed() {
    let uas = Arc::new(SipUas::start());
    uas.set_expires(900, 900);
    let account = PbxMode::Account("conf".to_owned());
    let mut config = pbx(uas.address(), account, TransportChoice::Udp);
    config.login = None;
    let kept = Kept::start(Vec::new(), Some(config.clone()), &[]).await;
    let given = wait(&uas, "a binding", |bindings| bindings.first().map(|b| b.expires_s)).await;
    assert_eq!(given, 900);
    kept.stop().await;

    // 6 s are refreshed after 5, the shortest that we do.
    uas.set_expires(1, 6);
    let kept = Kept::start(Vec::new(), Some(config), &[]).await;
    wait(&uas, "a refresh", |bindings| bindings.first().filter(|b| b.refreshed >= 2).map(|_| ())).await;
    kept.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_and_unreachable_registrations_show_as_failed() {
    let uas = Arc::new(SipUas::start());
    let account = || PbxMode::Account("conf".to_owned());
    uas.require(Gate::new("all", "another", &["MD5"]));
    let kept = Kept::start(Vec::new(), Some(pbx(uas.address(), account(), TransportChoice::Udp)), &[]).await;
    until(|| kept.count("pbx", RegistrationState::Failed) == 1).await;
    assert_eq!(uas.of_method("REGISTER").len(), 2, "a wrong password is said once");
    kept.stop().await;

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kept = Kept::start(Vec::new(), Some(pbx(closed, account(), TransportChoice::Tcp)), &[]).await;
    until(|| kept.count("pbx", RegistrationState::Failed) == 1).await;
    kept.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registration_comes_back_after_a_failure_and_over_a_new_connection() {
    let uas = Arc::new(SipUas::start());
    let account = PbxMode::Account("conf".to_owned());
    let mut config = pbx(uas.address(), account, TransportChoice::Tcp);
    config.login = None;
    let kept = Kept::start(Vec::new(), Some(config), &[]).await;
    wait_users(&uas, &["conf"]).await;
    until(|| kept.count("pbx", RegistrationState::Registered) == 1).await;
    uas.hang_up_tcp();
    wait(&uas, "a new registration", |bindings| bindings.first().filter(|b| b.refreshed >= 2).map(|_| ())).await;
    kept.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trunk_registers_its_user_and_its_calls_are_let_in() {
    let uas = Arc::new(SipUas::start());
    uas.require(Gate::new("acc", "secret", &["SHA-256"]));
    let address = uas.address();
    let trunk = Trunk {
        name: "provider".to_owned(),
        host: address.ip().to_string(),
        port: Some(address.port()),
        domain: "example.com".to_owned(),
        transport: TransportChoice::Auto,
        credentials: Some(SipCredentials {
            user: "acc".into(),
            password: "secret".into(),
            realm: Some("testkit".into()),
        }),
        caller_id: None,
        asserted_identity: false,
        codecs: Vec::new(),
        register: Some(Duration::from_secs(120)),
        patterns: Vec::new(),
        strip: 0,
        prepend: String::new(),
        ring_timeout: Duration::from_secs(30),
        max_calls: 1,
    };
    let kept = Kept::start(vec![Arc::new(trunk)], None, &["100"]).await;
    wait_users(&uas, &["acc"]).await;
    until(|| kept.count("provider", RegistrationState::Registered) == 1).await;
    assert_eq!(uas.bindings()[0].expires_s, 120);
    kept.stop().await;
}
