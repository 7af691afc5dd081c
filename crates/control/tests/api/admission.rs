//! Many callers at once: as many get in as there are seats, whatever the order in which they come.

use std::collections::BTreeSet;
use std::sync::Arc;

use control::rooms::Left;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::house::{Guest, House, PATIENCE};

/// Callers at once.
const CROWD: usize = 500;

/// Everyone dials at the same moment; those who got in, and the reasons of the others.
async fn rush(house: &Arc<House>, extensions: &[&'static str], crowd: usize) -> (Vec<Guest>, BTreeSet<&'static str>) {
    let start = Arc::new(Barrier::new(crowd));
    let mut callers = JoinSet::new();
    for number in 0..crowd {
        let (house, start, extension) = (Arc::clone(house), Arc::clone(&start), extensions[number % extensions.len()]);
        callers.spawn(async move {
            start.wait().await;
            house.admit(extension, &number.to_string()).await
        });
    }
    let (mut seats, mut refusals) = (Vec::new(), BTreeSet::new());
    while let Some(outcome) = tokio::time::timeout(PATIENCE, callers.join_next()).await.unwrap() {
        match outcome.unwrap() {
            Ok(guest) => seats.push(guest),
            Err(refusal) => drop(refusals.insert(refusal.label())),
        }
    }
    (seats, refusals)
}

async fn counts(house: &House) -> (f64, usize, usize) {
    let load = house.rooms.server_load(house.rooms.server());
    (house.metric("conclave_rooms_active").await, load.rooms, load.participants)
}

async fn house(more: &[(&str, &str)], extensions: &[&str], capacity: u32) -> Arc<House> {
    let house = House::open_with(more).await;
    for extension in extensions {
        house.room(extension, &json!({"capacity": capacity})).await;
    }
    Arc::new(house)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn room_takes_its_capacity_and_no_more() {
    let house = house(&[], &["900"], 7).await;
    for _ in 0..3 {
        let (seats, refusals) = rush(&house, &["900"], CROWD).await;
        assert_eq!((seats.len(), refusals), (7, BTreeSet::from(["room_full"])));
        drop(seats);
        assert_eq!(counts(&house).await, (0.0, 0, 0));
    }
    house.dial("900", "1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn server_takes_its_participants_and_no_more() {
    let extensions = ["900", "901", "902", "903", "904"];
    let house = house(&[("SERVER__MAX_PARTICIPANTS", "30"), ("SERVER__MAX_ROOMS", "4")], &extensions, 10).await;
    for _ in 0..3 {
        let (seats, refusals) = rush(&house, &extensions, CROWD).await;
        assert_eq!(seats.len(), 30);
        assert!(refusals.iter().all(|label| ["room_full", "server_full"].contains(label)), "{refusals:?}");
        drop(seats);
        assert_eq!(counts(&house).await, (0.0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn server_takes_its_rooms_and_no_more() {
    let extensions = ["900", "901", "902", "903", "904", "905", "906", "907"];
    let house = house(&[("SERVER__MAX_ROOMS", "3"), ("SERVER__MAX_PARTICIPANTS", "1000")], &extensions, 200).await;
    for _ in 0..3 {
        let (seats, refusals) = rush(&house, &extensions, CROWD).await;
        let rooms: BTreeSet<_> = seats.iter().map(|guest| guest.caller.extension.as_str()).collect();
        assert_eq!((rooms.len(), refusals), (3, BTreeSet::from(["server_full"])));
        let callers = (0..CROWD).filter(|number| rooms.contains(extensions[number % extensions.len()])).count();
        assert_eq!(seats.len(), callers, "whoever dialled a room that is active is in");
        assert_eq!(counts(&house).await.0, 3.0);
        drop(rooms);
        drop(seats);
        assert_eq!(counts(&house).await, (0.0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_seat_is_one_callers() {
    let house = house(&[], &["900"], 2).await;
    let _first = house.dial("900", "101").await.unwrap();
    for _ in 0..200 {
        let (seats, refusals) = rush(&house, &["900"], 2).await;
        assert_eq!((seats.len(), refusals), (1, BTreeSet::from(["room_full"])));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_who_were_answered_at_once_leave_no_count_behind() {
    let house = house(&[("SERVER__MAX_PARTICIPANTS", "12")], &["900", "901"], 8).await;
    let mut calls = JoinSet::new();
    for number in 0..60 {
        let house = Arc::clone(&house);
        calls.spawn(async move { house.dial(["900", "901"][number % 2], &number.to_string()).await });
    }
    let phones: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    assert_eq!(phones.len(), 12);
    let mut ends = JoinSet::new();
    for phone in phones {
        let house = Arc::clone(&house);
        ends.spawn(async move { house.rooms.leave(phone.id, Left::HungUp) });
    }
    ends.join_all().await;
    assert_eq!(counts(&house).await, (0.0, 0, 0));
    assert_eq!(house.metric("conclave_participants").await, 0.0);
}
