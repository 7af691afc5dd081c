//! The process is killed right after it has answered: whatever it answered with 2xx is there when it starts again.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

use crate::support::{path_of, setup, talker, wait_participants, wait_recording};
use serde_json::{Value, json};
use std::path::Path;
use testkit::api::Api;
use testkit::phone::Phone;
use testkit::postgres::Cluster;
use testkit::sdp::Codec;
use testkit::server::Server;

const ROOMS: &str = "/api/conference_rooms";
const SERVERS: &str = "/api/conference_servers";
const WEBHOOKS: &str = "/api/webhooks";
const PASSWORD: &str = "correct horse battery";

fn id_of(item: &Value) -> String {
    item["id"].as_str().unwrap().to_owned()
}

/// Everything that is told of what is set, in one value.
fn settled(api: &Api, rooms: &[&str], recorded: &str) -> Value {
    let get = |path: &str| api.get(path).expect(200).json();
    let mut recordings = api.recordings(recorded);
    for recording in &mut recordings {
        // Signed anew each time.
        recording["file_url"] = Value::Null;
    }
    let policy = |room: &&str| {
        let status = get(&format!("{ROOMS}/{room}/status"));
        ["locked", "muted"].map(|key| status[key].clone())
    };
    json!({
        "list": get(ROOMS), "servers": get(SERVERS), "webhooks": get(WEBHOOKS), "recordings": recordings,
        "rooms": rooms.iter().map(|room| get(&format!("{ROOMS}/{room}"))).collect::<Vec<_>>(),
        "policies": rooms.iter().map(policy).collect::<Vec<_>>(),
    })
}

/// A finished recording of a room, whose caller has left.
fn recording_of(server: &Server, api: &Api, room: &str, extension: &str) -> String {
    let dave = talker(server, extension, "dave", Codec::Pcmu, 700.0);
    wait_participants(api, room, 1);
    api.act(&format!("{ROOMS}/{room}/start_recording")).expect(200);
    dave.peer.listen(1_200).unwrap();
    api.act(&format!("{ROOMS}/{room}/stop_recording")).expect(200);
    let recording = id_of(&wait_recording(api, room, "FINISHED"));
    dave.hang_up();
    wait_participants(api, room, 0);
    recording
}

/// `crash` ends the server, and what else goes with it, and starts it again.
fn keeps_what_it_answered(mut server: Server, crash: impl FnOnce(&mut Server)) {
    let api = server.api();
    let idle = api.create_room_with("901", 5, &json!({"admin_pin": "246810", "subject": "Ünï'\"code"}));
    let recording = recording_of(&server, &api, &idle, "901");
    let live = api.create_room("900", 10);
    let alice = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    wait_participants(&api, &live, 1);
    let gone = id_of(&api.post(SERVERS, &node("gone")).expect(200).json());
    let gone_room = api.create_room("905", 5);
    let built_in = id_of(&api.get(SERVERS).expect(200).json()["items"][0]);

    // All of it is answered, and then the power goes.
    let alice_id = api.participant(&live, "alice");
    api.post(&format!("{ROOMS}/{live}/participants/{alice_id}/position"), &json!({"position": 5})).expect(200);
    let viewer = server.run(&["token", "create", "watcher", "--role", "viewer"]).trim().to_owned();
    let revoked = server.run(&["token", "create", "lost", "--role", "admin"]).trim().to_owned();
    let tokens = server.run(&["token", "list"]);
    let lost = tokens.lines().find(|line| line.ends_with("lost")).unwrap().split(' ').next().unwrap();
    server.run(&["token", "revoke", lost]);
    server.run_with(&format!("{PASSWORD}\n"), &["user", "add", "alice", "--role", "operator"]);
    let credentials = json!({"username": "alice", "password": PASSWORD});
    let granted = api.with_token(None).post("/api/auth/sign_in", &credentials).expect(200).json();
    let ended = api.with_token(None).post("/api/auth/sign_in", &credentials).expect(200).json();
    let (session, ended) = (&granted["access_token"], api.with_token(ended["access_token"].as_str()));
    ended.act("/api/auth/sign_out").expect(200);
    let hook = json!({"url": "https://hooks.example.org/x", "enabled": false, "types": ["room."]});
    let webhook = id_of(&api.post(WEBHOOKS, &hook).expect(201).json());
    api.post(&format!("{WEBHOOKS}/{webhook}"), &json!({"types": ["recording."]})).expect(200);
    api.post(SERVERS, &node("two")).expect(200);
    api.act(&format!("{SERVERS}/{gone}/destroy")).expect(204);
    api.act(&format!("{ROOMS}/{gone_room}/destroy")).expect(204);
    api.act(&format!("{ROOMS}/{idle}/recordings/{recording}/set_read")).expect(200);
    api.act(&format!("{ROOMS}/{idle}/mute")).expect(200);
    api.act(&format!("{ROOMS}/{live}/lock")).expect(200);
    api.post(&format!("{SERVERS}/{built_in}"), &json!({"max_participants": 7})).expect(200);
    let pins = json!({"room_pin": "0042", "timezone": "Asia/Shanghai", "layout": "LAYOUT6"});
    api.post(&format!("{ROOMS}/{idle}"), &pins).expect(200);
    let last = api.create_room("902", 3);
    let rooms = [&*idle, &*live, &*last];
    let before = settled(&api, &rooms, &idle);
    crash(&mut server);

    let after = settled(&api, &rooms, &idle);
    assert_eq!(before, after);
    assert_eq!((&after["rooms"][0]["room_pin"], &after["rooms"][0]["admin_pin"]), (&"0042".into(), &"246810".into()));
    assert_eq!((&after["policies"][0][1], &after["policies"][1][0]), (&true.into(), &true.into()));
    assert_eq!(after["recordings"][0]["read"], true);
    for path in [format!("{ROOMS}/{gone_room}"), format!("{SERVERS}/{gone}")] {
        api.get(&path).refused(404, "NOT_FOUND");
    }
    api.with_token(None).get(&path_of(&api.recordings(&idle)[0]["file_url"])).expect(200);
    api.with_token(Some(&viewer)).get(ROOMS).expect(200);
    api.with_token(Some(&viewer)).act(&format!("{ROOMS}/{live}/mute")).refused(403, "FORBIDDEN");
    for gone in [api.with_token(Some(&revoked)), ended] {
        gone.get(ROOMS).refused(401, "UNAUTHORIZED");
    }
    api.with_token(session.as_str()).get(ROOMS).expect(200);
    let refresh = json!({"refresh_token": granted["refresh_token"]});
    api.with_token(None).post("/api/auth/refresh_token", &refresh).expect(200);

    // The lock holds for the next call; and whoever was placed has that place again.
    let refused = Phone::dial(server.sip_address(), "900", "alice", Codec::Pcmu).expect_err("locked");
    assert!(refused.contains("403"), "{refused}");
    api.act(&format!("{ROOMS}/{live}/unlock")).expect(200);
    let _bob = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    let _alice = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let placed = |name: &str| {
        let person =
            api.get(&format!("{ROOMS}/{live}/participants/{}", api.participant(&live, name))).expect(200).json();
        (person["position"].as_i64().unwrap(), person["pinned"].as_bool().unwrap())
    };
    assert_eq!((placed("alice"), placed("bob").1), ((5, true), false));
    drop(alice);

    // Numbers of events go on where they were: of the run before, the room's call has no end, and of this one its start.
    let is_last = |event: &Value| event["type"] == "participant.joined" && event["sequence"].as_u64() > Some(6);
    let events = api.events_until(&live, is_last);
    let sequences: Vec<_> = events.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>());
    let kinds: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    let policies: Vec<_> = kinds.iter().filter(|kind| kind.contains("lock")).collect();
    assert_eq!(policies, [&"room.locked", &"room.unlocked"]);
}

fn node(name: &str) -> Value {
    json!({"name": name, "ipv4": "192.0.2.2", "ipv6": "2001:db8::2", "max_rooms": 0, "max_participants": 2_147_483_647})
}

#[test]
fn what_was_answered_survives_a_kill_with_sqlite() {
    keeps_what_it_answered(setup().start(), |server| {
        server.kill();
        server.restart();
    });
}

#[test]
fn what_was_answered_survives_a_kill_of_server_and_postgres() {
    let mut cluster = Cluster::start(Path::new(env!("CARGO_MANIFEST_DIR")));
    let server = setup().env("CONCLAVE__DATABASE__URL", &cluster.database()).start();
    keeps_what_it_answered(server, |server| {
        server.kill();
        cluster.down();
        cluster.up();
        server.restart();
    });
}
