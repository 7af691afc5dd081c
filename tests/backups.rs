//! `conclave backup` and `conclave restore` beside a running server.

use std::time::Duration;

use testkit::wait;

use crate::support::setup;

#[test]
fn backup_is_restored_while_the_server_runs() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 5);
    let file = server.scratch("backup.db");
    let file = file.to_str().expect("a path");
    assert!(server.run(&["backup", file]).contains("rows"));

    api.act(&format!("/api/conference_rooms/{room}/destroy")).expect(204);
    let later = api.create_room("901", 5);
    assert!(server.run(&["restore", file]).contains("rows"));
    wait::until("the server follows", Duration::from_secs(20), || {
        let (there, gone) = (api.get(&status(&room)).status, api.get(&status(&later)).status);
        if (there, gone) == (200, 404) { Ok(()) } else { Err(format!("{there} {gone}")) }
    });
    api.act(&format!("/api/conference_rooms/{room}/lock")).expect(200);
}

fn status(room: &str) -> String {
    format!("/api/conference_rooms/{room}/status")
}
