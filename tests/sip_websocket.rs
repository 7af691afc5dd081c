//! SIP over WebSocket: browsers' softphones come in on the API's port, with a join token or an account, and are then what phones
//! are: the same menu, keys and ends. The far end is the test kit's SIP agent with its WebRTC client; `browser_pages` has JsSIP.

use crate::support::{saying, setup, talker, token, wait_participants, wait_to_hear};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::api::Api;
use testkit::sdp::Codec;
use testkit::server::Server;
use testkit::sip_message::Message;
use testkit::sip_ua::{Call, Invite, SipUa, Transport};
use testkit::sip_uas::digest;
use testkit::tone;
use testkit::web_client::{WebClient, run_until};

const PATIENCE: Duration = Duration::from_secs(30);

fn softphone(server: &Server) -> SipUa {
    SipUa::new("ann", Transport::Ws, server.api_address())
}

fn personal(api: &Api, room: &str, more: &Value) -> Value {
    api.post(&format!("/api/conference_rooms/{room}/tokens"), more).expect(200).json()
}

/// An INVITE that shows this.
fn call(ua: &SipUa, extension: &str, offer: &str, authorization: &str) -> Call {
    let headers = vec![("Authorization".to_owned(), authorization.to_owned())];
    ua.invite(&Invite { headers, ..Invite::new(extension, offer) })
}

#[track_caller]
fn code(call: &Call) -> u16 {
    call.outcome().expect("a final response").code()
}

#[test]
fn softphone_in_a_browser_is_a_participant_like_a_phone() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let phone = talker(&server, "900", "bob", Codec::Pcmu, 500.0);
    let (ua, mut client) = (softphone(&server), saying(700.0));
    let call = call(&ua, "900", client.offer(), &format!("Bearer {}", token(&api, &room)));
    client.accept(&call.answered().expect("the call is answered")).expect("an answer");
    wait_to_hear(&mut [&mut client], &[500.0], &[700.0]);
    std::thread::scope(|scope| {
        let hearing = scope.spawn(|| phone.hears(&[700.0], &[500.0]));
        run_until(&mut [&mut client], PATIENCE, |_| hearing.is_finished());
    });
    let all = wait_participants(&api, &room, 2);
    let ann = all.iter().find(|p| p["number"] == "ann").expect("Ann");
    assert_eq!(
        (&ann["transport"], &ann["state"], &ann["audio_codec"]),
        (&"WEBRTC".into(), &"JOINED".into(), &"OPUS".into())
    );
    assert_eq!(api.metric(&["conclave_sip_ws_connections"]), 1.0);

    // Keys by INFO, as JsSIP sends them: the first turns the microphone off.
    for key in ['*', '6'] {
        assert_eq!(call.info_digit(key).expect("an answer").code(), 200);
    }
    let muted = run_until(&mut [&mut client], PATIENCE, |_| api.participants(&room).iter().any(|p| p["muted"] == true));
    assert!(muted, "{:?}", api.participants(&room));
    let ann = ann["id"].as_str().expect("an id");
    api.act(&format!("/api/conference_rooms/{room}/participants/{ann}/destroy")).expect(204);
    let bye = call.wait_bye(PATIENCE).expect("a BYE over the WebSocket");
    assert!(bye.header("Via").is_some_and(|via| via.starts_with("SIP/2.0/WS ")), "{bye:?}");
    wait_participants(&api, &room, 1);
}

#[test]
fn call_without_credentials_is_challenged_and_each_way_to_answer_opens_the_room() {
    let server = setup().env("CONCLAVE__WEBRTC__SIP_ACCOUNTS", "webphone correct-horse").start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let other = api.create_room("901", 10);
    let (room_token, others) = (token(&api, &room), token(&api, &other));
    let chair = personal(&api, &room, &json!({"role": "CHAIRMAN", "name": "Chair"}));
    let chair = chair["token"].as_str().expect("a token");
    let ua = softphone(&server);
    let uri = format!("sip:900@{}", server.api_address());
    let challenged = |client: &WebClient| {
        let call = ua.invite(&Invite::new("900", client.offer()));
        let refusal: Message = call.outcome().expect("a final response");
        assert_eq!(refusal.code(), 401);
        let all = refusal.headers.iter().filter(|(name, _)| name == "Www-Authenticate");
        let challenges: Vec<String> = all.map(|(_, value)| value.clone()).collect();
        assert!(challenges.len() == 3, "{refusal:?}");
        assert!(challenges[2].contains("MD5") && challenges[1].contains("SHA-256"), "{challenges:?}");
        assert_eq!(challenges[0], "Bearer realm=\"conclave\"");
        (call, challenges)
    };
    // By MD5 and SHA-256: an account, the room's token as the password, a personal token as both.
    for (at, user, password) in
        [(1, "webphone", "correct-horse"), (2, "webphone", "correct-horse"), (1, "ann", &room_token), (2, chair, chair)]
    {
        let mut client = saying(700.0);
        let (mut call, challenges) = challenged(&client);
        call.again("Authorization", &digest::answer(&challenges[at], user, password, "INVITE", &uri));
        client.accept(&call.answered().expect("the call is answered")).expect("an answer");
        let all = wait_participants(&api, &room, 1);
        let is_chair = user == chair;
        assert_eq!(all[0]["chairman"], is_chair, "{all:?}");
        let name = all[0]["display_name"].as_str().expect("a name");
        assert_eq!(name.starts_with("\"Chair\"<sip:ann@"), is_chair, "{name}");
        assert_eq!(call.bye().expect("an answer").code(), 200);
        wait_participants(&api, &room, 0);
    }
    let client = saying(700.0);
    for (user, password) in [("webphone", "wrong-horse"), ("ann", &others), (chair, &room_token)] {
        let (mut call, challenges) = challenged(&client);
        call.again("Authorization", &digest::answer(&challenges[1], user, password, "INVITE", &uri));
        assert_eq!(code(&call), if user == chair { 200 } else { 403 }, "{user}");
        if user == chair {
            call.bye().expect("an answer");
        }
    }
    // A nonce is for one call; a token for one room.
    let (_, challenges) = challenged(&client);
    let stolen = digest::answer(&challenges[2], "webphone", "correct-horse", "INVITE", &uri);
    assert_eq!(code(&call(&ua, "900", client.offer(), &stolen)), 401);
    assert_eq!(code(&call(&ua, "900", client.offer(), &format!("Bearer {others}"))), 403);
    assert_eq!(code(&call(&ua, "900", client.offer(), "Bearer guessed")), 403);
    assert_eq!(ua.options("").expect("an answer").code(), 200);
}

#[test]
fn personal_token_stands_for_the_pin_and_the_room_s_own_does_not() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({"room_pin": "1234", "enable_prompt": true}));
    let ua = softphone(&server);
    let state = || wait_participants(&api, &room, 1)[0]["state"].as_str().expect("a state").to_owned();

    let invited = personal(&api, &room, &json!({"name": "Ann"}));
    let mut client = saying(700.0);
    let bearer = format!("Bearer {}", invited["token"].as_str().expect("a token"));
    let first = call(&ua, "900", client.offer(), &bearer);
    client.accept(&first.answered().expect("the call is answered")).expect("an answer");
    assert_eq!(state(), "JOINED");
    first.bye().expect("an answer");
    wait_participants(&api, &room, 0);

    let mut client = saying(700.0);
    let second = call(&ua, "900", client.offer(), &format!("Bearer {}", token(&api, &room)));
    client.accept(&second.answered().expect("the call is answered")).expect("an answer");
    assert_eq!(state(), "IN_MENU");
    // What comes before the first word is silence, and keys before it are nobody's.
    let is_spoken_to = |clients: &[&mut WebClient]| {
        let heard = clients[0].heard();
        heard.len().checked_sub(4_800).is_some_and(|from| tone::rms_db(&heard[from..]) > -40.0)
    };
    assert!(run_until(&mut [&mut client], PATIENCE, is_spoken_to), "it is spoken to");
    for key in "1234#".chars() {
        assert_eq!(second.info_digit(key).expect("an answer").code(), 200);
    }
    assert!(run_until(&mut [&mut client], PATIENCE, |_| state() == "JOINED"));
    second.bye().expect("an answer");

    // Revoked, neither opens the room any more.
    let renewed = api.act(&format!("/api/conference_rooms/{room}/tokens/revoke")).expect(200).json();
    assert_eq!(code(&call(&ua, "900", client.offer(), &bearer)), 403);
    let now = token(&api, &room);
    assert_eq!(renewed["token"].as_str(), Some(now.as_str()));
}

#[test]
fn browsers_come_in_at_a_room_and_not_at_the_lobby() {
    let server = setup()
        .env("CONCLAVE__ROOMS__LOBBY_NUMBER", "800")
        .env("CONCLAVE__WEBRTC__SIP_ACCOUNTS", "w password1")
        .start();
    let ua = softphone(&server);
    let client = saying(700.0);
    let mut call = ua.invite(&Invite::new("800", client.offer()));
    let refusal = call.outcome().expect("a final response");
    let challenge =
        refusal.headers.iter().rfind(|(name, _)| name == "Www-Authenticate").expect("a challenge").1.clone();
    let uri = format!("sip:800@{}", server.api_address());
    call.again("Authorization", &digest::answer(&challenge, "w", "password1", "INVITE", &uri));
    let why = call.answered().expect_err("it is refused");
    assert!(why.contains("488") && why.contains("the lobby takes none"), "{why}");
}
