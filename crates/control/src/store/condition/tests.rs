//! Filters in the database: the same rows as in memory, whatever they hold and whatever is asked.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sqlx::{AssertSqlSafe, Row as _};

use super::*;
use crate::filter::{self, Fields};
use crate::ids::Id;
use crate::store::{Store, testing};

type Source = fn(&Row) -> Option<filter::Value<'_>>;

#[derive(Clone, Debug)]
struct Row {
    id: i64,
    name: String,
    note: Option<String>,
    size: i64,
    length: Option<i64>,
    open: bool,
    at: Option<i64>,
    tags: Option<Vec<String>>,
}

const IN_MEMORY: Fields<Source> = Fields::open(&[
    Field::new("id", Kind::Id, |row| Some(filter::Value::Id(Id::from_raw(row.id)))),
    Field::new("name", Kind::Text, |row| Some(filter::Value::Text(&row.name))),
    Field::nullable("note", Kind::Text, |row| row.note.as_deref().map(filter::Value::Text)),
    Field::new("size", Kind::Number, |row| Some(filter::Value::Number(Number::Whole(row.size)))),
    Field::nullable("length", Kind::Number, |row| row.length.map(|n| filter::Value::Number(Number::Whole(n)))),
    Field::new("open", Kind::Boolean, |row| Some(filter::Value::Boolean(row.open))),
    Field::new("noted", Kind::Boolean, |row| Some(filter::Value::Boolean(row.note.is_some()))),
    Field::nullable("at", Kind::Time, |row| Some(filter::Value::Time(Timestamp::from_millisecond(row.at?).unwrap()))),
    Field::nullable("tags", Kind::List, |row| row.tags.as_deref().map(filter::Value::List)),
]);

const IN_TABLE: Fields<Column> = Fields::open(&[
    column("id", Kind::Id),
    column("name", Kind::Text),
    nullable("note", Kind::Text),
    column("size", Kind::Number),
    nullable("length", Kind::Number),
    column("open", Kind::Boolean),
    Field::new("noted", Kind::Boolean, Column::same("CASE WHEN note IS NULL THEN 0 ELSE 1 END")),
    nullable("at", Kind::Time),
    nullable("tags", Kind::List),
]);

/// Short texts of what SQL, JSON and UTF-8 find hard.
fn text() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "A",
        "b",
        "ä",
        "Ä",
        "ß",
        "e\u{301}",
        "😀",
        "\u{ffff}",
        "\u{d7ff}",
        "\u{10ffff}",
        "%",
        "_",
        "\\",
        "'",
        "\"",
        ",",
        "[",
        "]",
        " ",
        "x",
    ]);
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

fn row() -> impl Strategy<Value = Row> {
    let note = prop::option::of(text());
    let tags = prop::option::of(prop::collection::vec(text(), 0..4));
    (text(), note, -3_i64..4, prop::option::of(-3_i64..4), any::<bool>(), prop::option::of(0_i64..3), tags).prop_map(
        |(name, note, size, length, open, at, tags)| Row {
            id: 0,
            name,
            note,
            size,
            length,
            open,
            at: at.map(|at| at * 500),
            tags,
        },
    )
}

/// A filter as somebody could write it.
fn written() -> impl Strategy<Value = String> {
    let operator = || prop::sample::select(vec!["eq", "ne", "gt", "ge", "lt", "le"]);
    let equality = || prop::sample::select(vec!["eq", "ne"]);
    let quoted = || text().prop_map(|text| format!("'{}'", text.replace('\'', "''")));
    let time =
        prop::sample::select(vec!["'1970-01-01T00:00:00Z'", "'1970-01-01T00:00:00.5Z'", "'1970-01-01T00:00:01Z'"]);
    let id = (0_i64..50).prop_map(|raw| format!("'{}'", Id::from_raw(raw)));
    let number = prop_oneof![
        (-3_i64..4).prop_map(|n| n.to_string()),
        (-30_i64..40).prop_map(|n| format!("{:?}", n as f64 / 10.0)),
        prop::sample::select(vec!["1e0", "-20E-1", "1e300", "9223372036854775807", "99999999999999999999"])
            .prop_map(str::to_owned),
    ];
    let texts = || prop::sample::select(vec!["name", "note"]);
    let compared = prop_oneof![
        (texts(), operator(), quoted()).prop_map(|(f, o, v)| (f.to_owned(), o, v)),
        (prop::sample::select(vec!["size", "length"]), operator(), number).prop_map(|(f, o, v)| (f.to_owned(), o, v)),
        (Just("at".to_owned()), operator(), time.prop_map(str::to_owned)),
        (Just("id".to_owned()), operator(), id),
        (
            prop::sample::select(vec!["open", "noted"]).prop_map(str::to_owned),
            equality(),
            any::<bool>().prop_map(|b| b.to_string())
        ),
        (
            prop::sample::select(vec!["name", "note", "size", "length", "open", "at", "tags", "id"])
                .prop_map(str::to_owned),
            equality(),
            Just("null".to_owned())
        ),
    ];
    let function = prop_oneof![
        (prop::sample::select(vec!["startswith", "endswith", "contains"]), texts(), quoted()),
        (Just("contains"), Just("tags"), quoted()),
    ];
    let test = prop_oneof![
        compared.prop_map(|(field, operator, value)| format!("{field} {operator} {value}")),
        function.prop_map(|(function, field, text)| format!("{function}({field},{text})")),
        Just("open".to_owned()),
    ];
    test.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| format!("not ({inner})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and {b}")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a} or {b})")),
        ]
    })
}

async fn keep(store: &Store, rows: &[Row]) {
    let (texts, longs) = match store.dialect {
        Dialect::Sqlite => ("TEXT", "INTEGER"),
        Dialect::Postgres => ("TEXT COLLATE \"C\"", "BIGINT"),
    };
    let create = format!(
        "CREATE TABLE filtered (id {longs}, name {texts}, note {texts}, size {longs}, length {longs}, open {longs}, \
         at {longs}, tags {texts})"
    );
    sqlx::query(AssertSqlSafe(create)).execute(&store.write).await.unwrap();
    for row in rows {
        sqlx::query("INSERT INTO filtered VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(row.id)
            .bind(&row.name)
            .bind(&row.note)
            .bind(row.size)
            .bind(row.length)
            .bind(i64::from(row.open))
            .bind(row.at)
            .bind(row.tags.as_ref().map(|tags| serde_json::to_string(tags).unwrap()))
            .execute(&store.write)
            .await
            .unwrap();
    }
}

async fn found(store: &Store, text: &str) -> BTreeSet<i64> {
    let condition = filter::parse(text, &IN_TABLE).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
    let mut query = Sql::new("SELECT id FROM filtered WHERE ");
    push(&mut query, &condition, store.dialect);
    let rows = query.query().fetch_all(&store.read).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    rows.iter().map(|row| row.try_get(0).unwrap()).collect()
}

#[tokio::test]
async fn table_and_memory_find_the_same_rows() {
    let (_place, store) = testing::store().await;
    let mut runner = TestRunner::deterministic();
    let mut rows = prop::collection::vec(row(), 60).new_tree(&mut runner).unwrap().current();
    (1..).zip(&mut rows).for_each(|(id, row)| row.id = id);
    keep(&store, &rows).await;
    let mut some = 0;
    for _ in 0..1000 {
        let text = written().new_tree(&mut runner).unwrap().current();
        let condition = filter::parse(&text, &IN_MEMORY).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
        let holds = |row: &&Row| condition.holds(&|field: &'static Field<Source>| (field.source)(row));
        let expected: BTreeSet<i64> = rows.iter().filter(holds).map(|row| row.id).collect();
        assert_eq!(found(&store, &text).await, expected, "{text}");
        some += usize::from(!expected.is_empty() && expected.len() < rows.len());
    }
    assert!(some > 500, "only {some} of the filters told rows apart");
}

#[tokio::test]
async fn element_is_not_found_across_the_borders_of_others() {
    let (_place, store) = testing::store().await;
    let tags = [vec!["a,", ",b"], vec!["a\"x"], vec!["\",\""], vec!["x", ","], vec![]];
    let row = |(id, tags): (i64, &Vec<&str>)| Row {
        id,
        name: String::new(),
        note: None,
        size: 0,
        length: None,
        open: false,
        at: None,
        tags: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()),
    };
    keep(&store, &(1..).zip(&tags).map(row).collect::<Vec<_>>()).await;
    assert_eq!(found(&store, "contains(tags,',')").await, BTreeSet::from([4]));
    assert_eq!(found(&store, "contains(tags,'x')").await, BTreeSet::from([4]));
    assert_eq!(found(&store, "contains(tags,'\",\"')").await, BTreeSet::from([3]));
    assert_eq!(found(&store, "contains(tags,'')").await, BTreeSet::new());
}

#[tokio::test]
async fn longest_chain_that_fits_is_taken() {
    let (_place, store) = testing::store().await;
    keep(&store, &[]).await;
    for (test, join) in [("open", " or "), ("open", " and "), ("at gt '1970-01-01T00:00:00Z'", " or ")] {
        let most = (filter::MAX_LENGTH + join.len()) / (test.len() + join.len());
        assert_eq!(found(&store, &vec![test; most].join(join)).await, BTreeSet::new());
    }
    let deep = filter::MAX_DEPTH;
    assert_eq!(
        found(&store, &format!("{}open{}", "not (".repeat(deep / 2), ")".repeat(deep / 2))).await,
        BTreeSet::new()
    );
}
