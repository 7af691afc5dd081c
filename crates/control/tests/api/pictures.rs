//! A room's picture beside the call: previews and the tiles in pixels; and how each is refused.

use axum::http::header;
use serde_json::{Value, json};

use crate::house::House;

const ROOMS: &str = "/api/conference_rooms";

#[tokio::test]
async fn layout_tells_who_is_in_which_tile() {
    let house = House::open().await;
    let room = house.room("900", &json!({"mode": "VIDEO", "height": 480, "width": 640})).await;
    let empty = house.get(&format!("{room}/layout")).await.expect(200).json();
    assert_eq!((&empty["layout"], empty["tiles"].as_array().unwrap().len()), (&json!("LAYOUT1"), 1));
    assert_eq!(empty["tiles"][0]["participant_id"], Value::Null);

    let (anna, ben) = (house.dial("900", "101").await.unwrap(), house.dial("900", "102").await.unwrap());
    let both = house.get(&format!("{room}/layout")).await.expect(200).json();
    assert_eq!((&both["width"], &both["height"], &both["layout"]), (&json!(640), &json!(480), &json!("LAYOUT2")));
    let tile = |at: usize, x: usize, who: &str| {
        json!({
            "position": at, "x": x, "y": 0, "width": 320, "height": 480, "participant_id": who, "talking": false,
        })
    };
    assert_eq!(both["tiles"], json!([tile(0, 0, &anna.wire_id()), tile(1, 320, &ben.wire_id())]));

    house.post(&room, &json!({"layout": "LAYOUT9"})).await.expect(200);
    let nine = house.get(&format!("{room}/layout")).await.expect(200).json();
    assert_eq!((&nine["layout"], nine["tiles"].as_array().unwrap().len()), (&json!("LAYOUT9"), 9));
    assert_eq!(nine["tiles"][0]["participant_id"], json!(anna.wire_id()));
}

#[tokio::test]
async fn preview_is_a_picture_of_the_rooms_size() {
    let house = House::open().await;
    let room = house.room("900", &json!({"mode": "VIDEO", "height": 240, "width": 320})).await;
    house.get(&format!("{room}/preview.jpg")).await.refused(409, "INVALID_STATE");
    let _anna = house.dial("900", "101").await.unwrap();
    let preview = house.get(&format!("{room}/preview.jpg")).await.expect(200);
    assert_eq!(
        (&preview.headers[header::CONTENT_TYPE], &preview.headers[header::CACHE_CONTROL]),
        (&header::HeaderValue::from_static("image/jpeg"), &header::HeaderValue::from_static("no-store"))
    );
    assert_eq!(size_of_jpeg(&preview.body), Some((320, 240)));
    let again = house.get(&format!("{room}/preview.jpg")).await.expect(200);
    assert_eq!(again.body, preview.body, "within half a second it is the same");
}

#[tokio::test]
async fn room_without_picture_and_unknown_room_are_refused() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let _anna = house.dial("900", "101").await.unwrap();
    for what in ["layout", "preview.jpg"] {
        house.get(&format!("{room}/{what}")).await.refused(409, "INVALID_STATE");
        house.get(&format!("{ROOMS}/MQ==/{what}")).await.refused(404, "NOT_FOUND");
    }
}

/// Width and height, from the frame header (ITU-T T.81 §B.2.2).
fn size_of_jpeg(bytes: &[u8]) -> Option<(u16, u16)> {
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let ([0xff, marker, high, low], _) = rest.split_first_chunk::<4>()? else { return None };
        if matches!(marker, 0xc0..=0xc2) {
            let word = |at: usize| Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
            return Some((word(7)?, word(5)?));
        }
        rest = rest.get(2 + usize::from(u16::from_be_bytes([*high, *low]))..)?;
    }
}
