//! A call that we make to ourselves through Kamailio, a proxy that nobody here wrote: it asks for our credentials, stays in the
//! path by Record-Route, and brings the call back over our own registration.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use testkit::kamailio::Kamailio;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::call::Happening;
use super::loopback_tests::{House, PATIENCE, happens, settings};
use super::outgoing::{CallerId, Dialling, Progress, Target, Way, dial};
use super::registration;
use super::rejection::Rejection;
use crate::config::{PbxConfig, PbxMode, SipCredentials};
use crate::dialing::{CallFailure, Path as DialPath, Route, TransportChoice, Trunk};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n";
const ANSWER: &str = "v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\n";

fn login(user: &str, password: &str) -> Option<SipCredentials> {
    Some(SipCredentials { user: user.to_owned(), password: password.to_owned(), realm: Some("kamailio".to_owned()) })
}

fn trunk(pbx: &Kamailio, transport: TransportChoice, password: &str) -> Trunk {
    Trunk {
        name: "pbx-trunk".to_owned(),
        host: pbx.address().ip().to_string(),
        port: Some(pbx.address().port()),
        domain: pbx.address().to_string(),
        transport,
        credentials: login("trunk1", password),
        caller_id: None,
        asserted_identity: true,
        codecs: Vec::new(),
        register: None,
        patterns: Vec::new(),
        strip: 0,
        prepend: String::new(),
        ring_timeout: Duration::from_secs(30),
        max_calls: 1,
    }
}

async fn call(house: &House, trunk: Trunk) -> Dialling {
    let path = DialPath::Trunk { trunk: Arc::new(trunk), user: "101".to_owned() };
    let target = Target::of(&Route { number: "101".to_owned(), path }, &CallerId::default());
    let way = Way::find(&house.front.stack, &target).await.unwrap();
    dial(&house.front.stack, target, way, OFFER.to_owned())
}

async fn last(dialling: &mut Dialling) -> Progress {
    loop {
        match timeout(PATIENCE, dialling.next()).await.expect("progress in time") {
            Progress::Ringing | Progress::EarlyMedia(_) => {}
            last => return last,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_through_a_real_proxy_is_authorised_changed_cancelled_and_ended() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kamailio/kamailio.cfg");
    for (algorithm, transport) in [("MD5", TransportChoice::Udp), ("SHA-256", TransportChoice::Tcp)] {
        let file = config.clone();
        let start = move || Arc::new(Kamailio::start(&file, algorithm));
        let pbx = tokio::task::spawn_blocking(start).await.unwrap();
        let mut house = House::open(settings()).await;
        let ours = PbxConfig {
            mode: PbxMode::Account("conference".to_owned()),
            host: pbx.address().ip().to_string(),
            port: Some(pbx.address().port()),
            transport,
            domain: pbx.address().ip().to_string(),
            login: login("", "secret"),
            expires: Duration::from_secs(600),
        };
        let (_known, extensions) = watch::channel(Arc::new(BTreeSet::new()));
        let end = CancellationToken::new();
        let stack = Arc::clone(&house.front.stack);
        let registered = tokio::spawn(registration::run(stack, Vec::new(), Some(ours), extensions, end.clone()));
        let asked = Arc::clone(&pbx);
        tokio::task::spawn_blocking(move || asked.wait_registered("conference")).await.unwrap();

        let mut dialling = call(&house, trunk(&pbx, transport, "wrong")).await;
        assert!(matches!(last(&mut dialling).await, Progress::Failed(CallFailure::NotAuthorised)));

        let mut dialling = call(&house, trunk(&pbx, transport, "secret")).await;
        let mut callee = house.call().await;
        assert_eq!(callee.wanted.caller.number, "trunk1");
        assert_eq!(callee.wanted.offer.as_deref(), Some(OFFER));
        callee.accept(ANSWER.to_owned(), false);
        let Progress::Answered(mut caller, sdp) = last(&mut dialling).await else { panic!("answered") };
        assert_eq!(sdp, ANSWER);
        assert!(matches!(happens(&mut callee).await, Happening::Nothing), "the ACK came through");

        assert!(caller.propose(OFFER.to_owned()));
        let Happening::Offer(offered) = happens(&mut callee).await else { panic!("an offer") };
        callee.answer(offered, Ok(ANSWER.to_owned())).await;
        let Happening::Answer(Some(sdp)) = happens(&mut caller).await else { panic!("an answer") };
        assert_eq!(sdp, ANSWER);
        assert!(matches!(happens(&mut callee).await, Happening::Nothing));
        assert!(callee.propose(OFFER.to_owned()), "the other way round");
        let Happening::Offer(offered) = happens(&mut caller).await else { panic!("an offer") };
        caller.answer(offered, Ok(ANSWER.to_owned())).await;
        assert!(matches!(happens(&mut callee).await, Happening::Answer(Some(_))));
        assert!(matches!(happens(&mut caller).await, Happening::Nothing));

        let ending = tokio::spawn(callee.hang_up(200, "over", "over"));
        assert!(matches!(happens(&mut caller).await, Happening::HungUp));
        caller.ended();
        timeout(PATIENCE, ending).await.unwrap().unwrap();
        house.empties().await;

        let dialling = call(&house, trunk(&pbx, transport, "secret")).await;
        let mut callee = house.call().await;
        dialling.cancel();
        assert!(matches!(happens(&mut callee).await, Happening::Cancelled));
        callee.refuse(&Rejection::cancelled());
        house.empties().await;

        let mut dialling = call(&house, trunk(&pbx, transport, "secret")).await;
        house.call().await.refuse(&Rejection::new(486, "busy", "busy"));
        assert!(matches!(last(&mut dialling).await, Progress::Failed(CallFailure::Busy)));
        end.cancel();
        timeout(PATIENCE, registered).await.unwrap().unwrap();
        house.empties().await;
    }
}
