//! The database goes away and comes back while people talk: calls and looks go on, changes are refused and leave nothing
//! behind, and all of it is in order afterwards, without a restart.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

use crate::support::{SOON, path_of, setup, talker, wait_participants, wait_recording};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::api::{Answer, Api};
use testkit::phone::Phone;
use testkit::postgres::Cluster;
use testkit::sdp::Codec;
use testkit::server::{Server, Setup};
use testkit::wait;

const ROOMS: &str = "/api/conference_rooms";
const SERVERS: &str = "/api/conference_servers";
const PASSWORD: &str = "correct horse battery";
/// The first who needs a database that hangs waits for it for so long.
const NOTICED: Duration = Duration::from_secs(6);
/// From then on a look at what is live is not slowed by it; a debug binary on a busy machine is given some time.
const AT_ONCE: Duration = Duration::from_millis(1_500);
/// A change is refused after this long, however many others wait with it.
const REFUSED_WITHIN: Duration = Duration::from_secs(14);
/// After the database is back.
const RECOVERY: Duration = Duration::from_secs(10);

/// A server with something of everything, and people in two of its rooms.
struct House {
    server: Server,
    api: Api,
    /// Alice (500 Hz) and Bob (900 Hz) talk here.
    room: String,
    alice: Phone,
    bob: Phone,
    /// Erin is recorded here.
    recorded: String,
    _erin: Phone,
    /// To be recorded with the first who comes.
    automatic: String,
    /// Nobody is here; it has the finished recording.
    idle: String,
    recording: Value,
    built_in: String,
    external: String,
    webhook: String,
    /// Of a session.
    access: String,
    refresh: String,
    /// Never shown to the server before the database went away.
    unused: String,
}

impl House {
    fn furnished(setup: Setup) -> Self {
        let server = setup.start();
        let api = server.api();
        let idle = api.create_room_with("901", 5, &json!({"room_pin": null, "admin_pin": "246810"}));
        let dave = talker(&server, "901", "dave", Codec::Pcmu, 700.0);
        wait_participants(&api, &idle, 1);
        api.act(&format!("{ROOMS}/{idle}/start_recording")).expect(200);
        dave.peer.listen(1_200).expect("sound");
        api.act(&format!("{ROOMS}/{idle}/stop_recording")).expect(200);
        let recording = wait_recording(&api, &idle, "FINISHED");
        dave.hang_up();
        wait_participants(&api, &idle, 0);

        let servers = api.get(SERVERS).expect(200).json();
        let built_in = id_of(&servers["items"][0]);
        let external = json!({"name": "two", "ipv4": "192.0.2.2", "max_rooms": 1, "max_participants": 1});
        let external = made(&api.post(SERVERS, &external).expect(200));
        let hook = json!({"url": "https://hooks.example.org/x", "enabled": false});
        let webhook = made(&api.post("/api/webhooks", &hook).expect(201));
        server.run_with(&format!("{PASSWORD}\n"), &["user", "add", "alice", "--role", "operator"]);
        let granted = api.with_token(None).post("/api/auth/sign_in", &credentials()).expect(200).json();
        let unused = server.run(&["token", "create", "unused", "--role", "admin"]).trim().to_owned();

        let room = api.create_room("900", 10);
        let alice = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
        let bob = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
        let automatic = api.create_room_with("904", 10, &json!({"enable_recording": true}));
        let recorded = api.create_room("903", 10);
        let erin = talker(&server, "903", "erin", Codec::Pcmu, 1_100.0);
        wait_participants(&api, &recorded, 1);
        api.act(&format!("{ROOMS}/{recorded}/start_recording")).expect(200);
        bob.hears(&[500.0], &[900.0]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (access, refresh) = (text(&granted["access_token"]), text(&granted["refresh_token"]));
        api.with_token(Some(&access)).get(ROOMS).expect(200);
        Self {
            server,
            api,
            room,
            alice,
            bob,
            recorded,
            _erin: erin,
            automatic,
            idle,
            recording,
            built_in,
            external,
            webhook,
            access,
            refresh,
            unused,
        }
    }

    /// Every change that there is, but those that are refused anyway.
    fn changes(&self) -> Vec<(String, Value)> {
        let (room, idle, recorded) = (&self.room, &self.idle, &self.recorded);
        let (alice, bob) = (self.api.participant(room, "alice"), self.api.participant(room, "bob"));
        let (recording, server) = (id_of(&self.recording), &self.built_in);
        let none = json!({});
        let new_room = json!({"extension_number": "902", "mode": "AUDIO", "subject": "New", "capacity": 5});
        let new_server = json!({"name": "three", "ipv4": "192.0.2.3", "max_rooms": 1, "max_participants": 1});
        let refresh = json!({"refresh_token": self.refresh});
        let mut changes = vec![
            (ROOMS.to_owned(), new_room),
            (format!("{ROOMS}/{room}"), json!({"subject": "Changed", "capacity": 2})),
            (format!("{ROOMS}/{room}/participants/layout"), json!({"items": [bob, alice]})),
            (format!("{ROOMS}/{room}/participants/{alice}/position"), json!({"position": 5})),
            (SERVERS.to_owned(), new_server),
            (format!("{SERVERS}/{server}"), json!({"enabled": false, "max_participants": 1})),
            (format!("{SERVERS}/{}/destroy", self.external), none.clone()),
            ("/api/webhooks".to_owned(), json!({"url": "https://hooks.example.org/y", "enabled": false})),
            (format!("/api/webhooks/{}", self.webhook), json!({"url": "https://hooks.example.org/z"})),
            (format!("/api/webhooks/{}/destroy", self.webhook), none.clone()),
            ("/api/auth/sign_in".to_owned(), credentials()),
            ("/api/auth/refresh_token".to_owned(), refresh),
        ];
        for action in ["lock", "unlock", "mute", "unmute", "start_recording", "destroy"] {
            changes.push((format!("{ROOMS}/{room}/{action}"), none.clone()));
        }
        for action in ["lock", "mute", "destroy"] {
            changes.push((format!("{ROOMS}/{idle}/{action}"), none.clone()));
        }
        changes.push((format!("{ROOMS}/{recorded}/stop_recording"), none.clone()));
        for action in ["mute", "unmute", "chairman", "destroy"] {
            changes.push((format!("{ROOMS}/{room}/participants/{alice}/{action}"), none.clone()));
        }
        for action in ["set_read", "set_unread", "destroy"] {
            changes.push((format!("{ROOMS}/{idle}/recordings/{recording}/{action}"), none.clone()));
        }
        changes
    }

    /// What is live, as the API tells it without the database.
    fn live(&self) -> Vec<String> {
        let (room, idle, alice) = (&self.room, &self.idle, self.api.participant(&self.room, "alice"));
        let of_rooms = [format!("{room}/status"), format!("{idle}/status"), format!("{room}/participants")];
        let mut live: Vec<String> = of_rooms.iter().map(|path| format!("{ROOMS}/{path}")).collect();
        live.push(format!("{ROOMS}/{room}/participants/{alice}"));
        live.push(format!("{SERVERS}/{}/status", self.built_in));
        live.push("/healthz".to_owned());
        live
    }

    /// Everything that changes could have changed, but for who comes and goes.
    fn settled(&self) -> Value {
        let get = |path: &str| self.api.get(path).expect(200).json();
        let mut recordings = self.api.recordings(&self.idle);
        for recording in &mut recordings {
            // Signed anew each time.
            recording["file_url"] = Value::Null;
        }
        let mut people = self.api.participants(&self.room);
        people.retain(|p| ["alice", "bob"].iter().any(|name| p["number"] == *name));
        let set = |p: &Value| ["id", "muted", "chairman", "position", "pinned"].map(|key| p[key].clone());
        let policy = |room: &str| {
            let status = get(&format!("{ROOMS}/{room}/status"));
            ["locked", "muted", "recording"].map(|key| status[key].clone())
        };
        json!({
            "rooms": get(ROOMS), "room": get(&format!("{ROOMS}/{}", self.room)), "servers": get(SERVERS),
            "webhooks": get("/api/webhooks"), "recordings": recordings,
            "people": people.iter().map(set).collect::<Vec<_>>(),
            "policies": [policy(&self.room), policy(&self.idle), policy(&self.recorded)],
        })
    }
}

fn id_of(item: &Value) -> String {
    item["id"].as_str().unwrap().to_owned()
}

fn made(answer: &Answer) -> String {
    id_of(&answer.json())
}

fn credentials() -> Value {
    json!({"username": "alice", "password": PASSWORD})
}

/// All at once; each is refused soon, and told to come again.
fn refuses_every_change(house: &House, changes: &[(String, Value)]) {
    std::thread::scope(|scope| {
        for (path, body) in changes {
            let api = if path.starts_with("/api/auth") { house.api.with_token(None) } else { house.api.clone() };
            scope.spawn(move || {
                let begun = Instant::now();
                let answer = api.post(path, body);
                let took = begun.elapsed();
                assert!(answer.header("retry-after").is_some(), "{path}: {} {:?}", answer.text(), answer.headers);
                assert!(took < REFUSED_WITHIN, "{path}: after {took:?}");
                answer.refused(503, "BUSY");
            });
        }
    });
}

fn looks_within(patience: Duration, api: &Api, live: &[String]) {
    for path in live {
        let begun = Instant::now();
        api.get(path).expect(200);
        let took = begun.elapsed();
        assert!(took < patience, "{path}: after {took:?}");
    }
}

/// What happens from before the database goes away (`away`) until it is `back` and everything is in order again.
/// `reads` says that it can be read all the while.
fn outlives<T, U>(house: &House, away: impl FnOnce() -> T, reads: bool, back: impl FnOnce(T) -> U) {
    let House { server, api, room, alice, bob, .. } = house;
    let (changes, live, before) = (house.changes(), house.live(), house.settled());
    let follower = {
        let (api, room) = (api.clone(), room.clone());
        let is_last = |event: &Value| event["type"] == "participant.joined" && event["data"]["number"] == "frank";
        std::thread::spawn(move || api.events_until(&room, is_last))
    };

    let gone = away();
    bob.hears(&[500.0], &[900.0]);
    looks_within(NOTICED, api, &live);
    if !reads {
        wait::until("the server notices", NOTICED, || match api.get("/readyz") {
            ready if ready.status == 503 => Ok(()),
            ready => Err(ready.text()),
        });
    }
    for _ in 0..3 {
        looks_within(AT_ONCE, api, &live);
        // More than the second for which a token holds without a question.
        bob.peer.listen(1_100).unwrap();
    }
    if !reads {
        let not_ready = api.get("/readyz").expect(503).json();
        assert!(not_ready["reason"].as_str().unwrap().contains("database"), "{not_ready}");
        let unused = api.with_token(Some(&house.unused)).get(&live[0]);
        assert!(unused.header("retry-after").is_some(), "{:?}", unused.headers);
        unused.refused(503, "BUSY");
    }
    refuses_every_change(house, &changes);
    let session = api.with_token(Some(&house.access));
    session.act("/api/auth/sign_out").refused(503, "BUSY");
    looks_within(AT_ONCE, &session, &live);

    // People come and go meanwhile, and nobody is muted, moved or gone.
    let carol = talker(server, "900", "carol", Codec::Pcmu, 1_300.0);
    alice.hears(&[900.0, 1_300.0], &[500.0]);
    carol.hears(&[500.0, 900.0], &[1_300.0]);
    assert_eq!(api.participants(room).len(), 3);
    carol.hang_up();
    wait_participants(api, room, 2);
    let frank = talker(server, "900", "frank", Codec::Pcmu, 1_700.0);
    frank.hears(&[500.0, 900.0], &[1_300.0, 1_700.0]);
    let _gina = talker(server, "904", "gina", Codec::Pcmu, 600.0);
    looks_within(AT_ONCE, api, &live);

    let _back = back(gone);
    let idle = format!("{ROOMS}/{}", house.idle);
    wait::until("changes to be taken again", RECOVERY, || match api.act(&format!("{idle}/lock")) {
        answer if answer.status == 200 => Ok(()),
        answer => Err(answer.text()),
    });
    api.get("/readyz").expect(200);
    api.act(&format!("{idle}/unlock")).expect(200);
    assert_eq!(house.settled(), before, "what was refused has not happened");
    alice.hears(&[900.0, 1_700.0], &[500.0, 1_300.0]);
    wait_recording(api, &house.automatic, "RECORDING");
    let file = api.with_token(None).get(&path_of(&api.recordings(&house.idle)[0]["file_url"])).expect(200);
    assert_eq!(Some(file.body.len() as u64), house.recording["file_size"].as_u64());

    // What happened is in the outbox: in order, once, and nothing that did not.
    let events = follower.join().unwrap();
    let sequences: Vec<_> = events.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>());
    let told = |event: &Value| Some((event["type"].as_str()?.to_owned(), event["data"]["number"].as_str()?.to_owned()));
    let mut told: Vec<_> = events.iter().filter_map(told).collect();
    let is_passing = |kind: &str| matches!(kind, "participant.talking" | "participant.silent" | "participant.position");
    told.retain(|(kind, _)| !is_passing(kind));
    let expected =
        [("joined", "alice"), ("joined", "bob"), ("joined", "carol"), ("left", "carol"), ("joined", "frank")];
    assert_eq!(told, expected.map(|(kind, who)| (format!("participant.{kind}"), who.to_owned())));
    let of_room: Vec<_> = events.iter().filter_map(|e| e["type"].as_str()).filter(|k| k.starts_with("room.")).collect();
    assert_eq!(of_room, ["room.created", "room.started"]);
    takes_changes(house, &session);
}

/// As on any other day.
fn takes_changes(house: &House, session: &Api) {
    let House { api, room, idle, .. } = house;
    let alice = api.participant(room, "alice");
    api.act(&format!("{ROOMS}/{room}/participants/{alice}/mute")).expect(200);
    house.bob.hears(&[1_700.0], &[500.0, 900.0]);
    api.act(&format!("{ROOMS}/{room}/participants/{alice}/chairman")).expect(200);
    api.post(&format!("{ROOMS}/{room}/participants/{alice}/position"), &json!({"position": 5})).expect(200);
    api.act(&format!("{ROOMS}/{room}/start_recording")).expect(200);
    api.act(&format!("{ROOMS}/{}/stop_recording", house.recorded)).expect(200);
    wait_recording(api, &house.recorded, "FINISHED");
    let recording = format!("{ROOMS}/{idle}/recordings/{}", id_of(&house.recording));
    api.act(&format!("{recording}/set_read")).expect(200);
    api.act(&format!("{recording}/destroy")).expect(204);
    api.with_token(Some(&house.unused)).get(ROOMS).expect(200);
    session.act("/api/auth/sign_out").expect(200);
    api.with_token(None).post("/api/auth/sign_in", &credentials()).expect(200);
    api.act(&format!("{ROOMS}/{room}/participants/{alice}/destroy")).expect(204);
    house.alice.call.wait_bye(SOON).unwrap();
    api.act(&format!("{ROOMS}/{room}/destroy")).expect(204);
    house.bob.call.wait_bye(SOON).unwrap();
}

#[test]
fn postgres_that_ends_and_starts_again() {
    let cluster = Cluster::start(Path::new(env!("CARGO_MANIFEST_DIR")));
    let house = House::furnished(setup().env("CONCLAVE__DATABASE__URL", &cluster.database()));
    let away = || {
        cluster.down();
        cluster
    };
    let back = |mut cluster: Cluster| {
        cluster.up();
        cluster
    };
    outlives(&house, away, false, back);
}

#[test]
fn postgres_that_hangs_and_goes_on() {
    let cluster = Cluster::start(Path::new(env!("CARGO_MANIFEST_DIR")));
    let house = House::furnished(setup().env("CONCLAVE__DATABASE__URL", &cluster.database()));
    outlives(&house, || cluster.pause(), false, |()| cluster.resume());
}

#[test]
fn server_that_is_told_to_end_while_its_database_is_away_does() {
    let mut cluster = Cluster::start(Path::new(env!("CARGO_MANIFEST_DIR")));
    let database = cluster.database();
    let mut server = setup().env("CONCLAVE__DATABASE__URL", &database).env("CONCLAVE__DRAIN__GRACE_S", "1").start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let alice = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    wait_participants(&api, &room, 1);
    api.act(&format!("{ROOMS}/{room}/start_recording")).expect(200);
    alice.peer.listen(1_200).unwrap();
    cluster.down();
    server.terminate();
    alice.call.wait_bye(SOON).unwrap();
    // It goes on trying to keep the end of the recording for as long as any other.
    assert!(server.wait_exit(Duration::from_secs(20)).success());
    cluster.up();
    server.restart();
    wait_recording(&api, &room, "RECOVERED");
}

/// Another process that writes into a SQLite file and does not come to an end.
struct Writer(Child);

impl Writer {
    fn begin(file: &Path) -> Self {
        let script = "import sqlite3, sys\n\
                      file = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n\
                      file.execute('BEGIN IMMEDIATE')\n\
                      print('begun', flush=True)\n\
                      sys.stdin.read()\n\
                      file.execute('ROLLBACK')\n";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n");
        Self(child)
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
fn sqlite_that_another_process_writes_into() {
    let house = House::furnished(setup());
    let file = house.server.data_dir().join("conclave.db");
    outlives(&house, || Writer::begin(&file), true, Writer::end);
}

/// Makes rooms and locks them, one after the other, until one is refused; gives the ids of those that were made, with
/// whether their lock was answered.
fn make_rooms(api: &Api, first: u32) -> Vec<(String, bool)> {
    let mut made = Vec::new();
    for extension in first.. {
        let body = json!({"extension_number": extension.to_string(), "mode": "AUDIO", "subject": "x", "capacity": 5});
        let answer = api.post(ROOMS, &body);
        if answer.status != 201 {
            answer.refused(503, "BUSY");
            return made;
        }
        let room = id_of(&answer.json());
        let answer = api.act(&format!("{ROOMS}/{room}/lock"));
        made.push((room, answer.status == 200));
        if answer.status != 200 {
            answer.refused(503, "BUSY");
            return made;
        }
    }
    made
}

/// Ids of all rooms in the database.
fn listed(api: &Api) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let page = api.get(&format!("{ROOMS}?skip={}", all.len())).expect(200).json();
        let page = page["items"].as_array().unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.iter().map(id_of));
    }
}

fn locks(api: &Api, rooms: &[String]) -> Vec<Value> {
    let status = |room| api.get(&format!("{ROOMS}/{room}/status")).expect(200).json();
    rooms.iter().map(|room| status(room)["locked"].clone()).collect()
}

#[test]
fn what_was_answered_is_kept_when_postgres_ends_under_load() {
    let mut cluster = Cluster::start(Path::new(env!("CARGO_MANIFEST_DIR")));
    let mut server = setup().env("CONCLAVE__DATABASE__URL", &cluster.database()).start();
    let api = server.api();
    let mut made: Vec<(String, bool)> = Vec::new();
    for round in 1..=4 {
        std::thread::scope(|scope| {
            let makers: Vec<_> = (0..4)
                .map(|n| {
                    scope.spawn({
                        let api = &api;
                        move || make_rooms(api, round * 100_000 + n * 10_000)
                    })
                })
                .collect();
            wait::until_true("rooms are made", SOON, || {
                api.metric(&["conclave_api_requests_total", "\"201\""]) > 60.0 * f64::from(round)
            });
            cluster.down();
            made.extend(makers.into_iter().flat_map(|maker| maker.join().unwrap()));
        });
        cluster.up();
        wait::until_true("changes are taken again", RECOVERY, || api.get("/readyz").status == 200);
    }
    let rooms = listed(&api);
    for (room, locked) in &made {
        assert!(rooms.contains(room), "{room} was answered and is gone");
        let status = api.get(&format!("{ROOMS}/{room}/status")).expect(200).json();
        assert!(!locked || status["locked"] == true, "{room} was locked");
    }
    // What was not answered may have happened, but then it has happened whole: it is in force as it is in the database.
    let live = wait::until("what is in the database is in force", RECOVERY, || {
        let known = |room: &&String| api.get(&format!("{ROOMS}/{room}/status")).status == 200;
        let unknown: Vec<_> = rooms.iter().filter(|room| !known(room)).collect();
        if unknown.is_empty() { Ok(locks(&api, &rooms)) } else { Err(format!("not {unknown:?}")) }
    });
    server.kill();
    server.restart();
    assert_eq!(listed(&api), rooms);
    assert_eq!(locks(&api, &rooms), live);
}
