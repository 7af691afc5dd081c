//! What a filter means, where it breaks, and what it is about an item in memory.

use proptest::prelude::*;

use super::*;

type Source = fn(&Item) -> Option<Value<'_>>;

struct Item {
    name: Option<String>,
    size: i64,
    ratio: Option<f64>,
    open: bool,
    tags: Option<Vec<String>>,
}

const FIELDS: Fields<Source> = Fields {
    all: &[
        Field::new("id", Kind::Id, |item| Some(Value::Id(Id::from_raw(item.size)))),
        Field::nullable("name", Kind::Text, |item| item.name.as_deref().map(Value::Text)),
        Field::new("size", Kind::Number, |item| Some(Value::Number(Number::Whole(item.size)))),
        Field::nullable("ratio", Kind::Number, |item| item.ratio.map(|ratio| Value::Number(Number::Real(ratio)))),
        Field::new("open", Kind::Boolean, |item| Some(Value::Boolean(item.open))),
        Field::new("at", Kind::Time, |item| Some(Value::Time(Timestamp::from_second(item.size).unwrap()))),
        Field::nullable("tags", Kind::List, |item| item.tags.as_deref().map(Value::List)),
        Field::nullable("stats", Kind::Object, |item| item.ratio.map(|_| Value::Object)),
        Field::nullable("stats/ratio", Kind::Number, |item| item.ratio.map(|ratio| Value::Number(Number::Real(ratio)))),
    ],
    hidden: &["pin"],
};

fn item() -> Item {
    Item {
        name: Some("Größe".into()),
        size: 20,
        ratio: Some(2.5),
        open: true,
        tags: Some(vec!["a".into(), ",".into()]),
    }
}

fn bare() -> Item {
    Item { name: None, size: 20, ratio: None, open: false, tags: None }
}

#[track_caller]
fn holds(text: &str, item: &Item) -> bool {
    let condition = parse(text, &FIELDS).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
    condition.holds(&|field: &'static Field<Source>| (field.source)(item))
}

#[track_caller]
fn refusal(text: &str) -> String {
    parse(text, &FIELDS).expect_err(text).to_string()
}

/// The structure, with `open` as `o` and `size eq n` as the number.
fn shape(text: &str) -> String {
    fn written(condition: &Condition<Source>) -> String {
        let joined = |parts: &[Condition<Source>], sign| parts.iter().map(written).collect::<Vec<_>>().join(sign);
        match condition {
            Condition::All(parts) => format!("({})", joined(parts, "&")),
            Condition::Any(parts) => format!("({})", joined(parts, "|")),
            Condition::Not(inner) => format!("!{}", written(inner)),
            Condition::Test(_, Test::Compares(Comparison::Equal, Literal::Number(Number::Whole(n)))) => n.to_string(),
            Condition::Test(..) => "o".to_owned(),
        }
    }
    written(&parse(text, &FIELDS).unwrap())
}

#[test]
fn not_binds_tighter_than_and_and_that_tighter_than_or() {
    for (text, structure) in [
        ("size eq 1 or size eq 2 and size eq 3", "(1|(2&3))"),
        ("size eq 1 and size eq 2 or size eq 3", "((1&2)|3)"),
        ("(size eq 1 or size eq 2) and size eq 3", "((1|2)&3)"),
        ("not size eq 1 and open", "(!1&o)"),
        ("not (size eq 1 and open)", "!(1&o)"),
        ("not not open or not(open)", "(!!o|!o)"),
        ("((size eq 1))", "1"),
        ("1 eq size", "1"),
        ("size EQ 1 Or NOT open AND size eQ -2", "(1|(!o&-2))"),
        (" \t(\n size eq 1 ) ", "1"),
    ] {
        assert_eq!(shape(text), structure, "{text}");
    }
}

#[test]
fn literals_are_read_as_written() {
    for text in [
        "name eq 'Größe'",
        "name ne 'größe'",
        "'Größe' eq name",
        "startswith(name,'Gr') and ENDSWITH( name , 'ße' ) and contains (name,'')",
        "contains(name,'x') eq false and contains(name,'ö') eq True and contains(name,'ö') ne FALSE",
        "size eq 20 and size eq 20.0 and size eq 2e1 and size eq 0.2E+2 and size gt -1 and size lt 1e300",
        "size lt 99999999999999999999",
        "ratio eq 2.5 and ratio gt 2 and stats/ratio le 25e-1 and 3 gt ratio",
        "open eq true and true eq open and open ne false and open",
        "at eq '1970-01-01T00:00:20Z' and at lt '1970-01-01T01:00:20.001+01:00'",
        "id eq 'MjA=' and id lt 'MjE='",
        "contains(tags,'a') and contains(tags,',') and not contains(tags,'a,') and tags ne null",
        "stats ne null and null ne stats",
    ] {
        assert!(holds(text, &item()), "{text}");
    }
    for (literal, value) in [("''", ""), ("''''", "'"), ("'a''b'", "a'b"), ("'null'", "null"), ("'%_\\'", "%_\\")] {
        let named = Item { name: Some(value.into()), ..item() };
        assert!(holds(&format!("name eq {literal}"), &named), "{literal}");
    }
}

#[test]
fn comparison_against_null_is_false_and_its_not_is_true() {
    let comparisons = [
        "name eq 'a'",
        "name ne 'a'",
        "name lt 'a'",
        "name ge ''",
        "startswith(name,'')",
        "contains(name,'') eq true",
        "ratio ne 1",
        "contains(tags,'a')",
    ];
    for text in comparisons {
        assert!(!holds(text, &bare()), "{text}");
        assert!(holds(&format!("not ({text})"), &bare()), "{text}");
    }
    assert!(holds("name eq null and null eq ratio and tags eq NULL and stats eq null and not name ne null", &bare()));
    assert!(holds("size ne null and not (size eq null)", &bare()));
}

#[test]
fn every_refusal_has_its_column_and_one_reason() {
    for (text, reason) in [
        ("not (sbject eq 'x')", "column 6: there is no field sbject"),
        ("name eq 'ä' and größe eq 1", "column 17: there is no field größe"),
        ("Name eq 'x'", "column 1: there is no field Name"),
        ("pin eq '1'", "column 1: a viewer may not see pin"),
        ("size eq 'x'", "column 9: size is a number, and a text was given"),
        ("'x' eq size", "column 1: size is a number, and a text was given"),
        ("name eq 5", "column 9: name is a text, and a number was given"),
        ("name eq true", "column 9: name is a text, and a boolean was given"),
        ("open eq 'true'", "column 9: open is a boolean, and a text was given"),
        ("open gt false", "column 6: open is a boolean, and takes eq and ne only"),
        ("name lt null", "column 6: null takes eq and ne only"),
        ("tags eq 'a'", "column 9: tags is a list, and takes contains, eq null and ne null only"),
        ("stats eq 1", "column 10: stats is an object, and takes eq null and ne null only"),
        ("at eq 5", "column 7: at is a time, and a number was given"),
        (
            "at eq '2030-01-01'",
            "column 7: at is a time, and the text is none as RFC 3339 has it, such as 2030-07-21T17:32:28Z",
        ),
        ("id eq 'x'", "column 7: id is an id, and the text is none that this server could have made"),
        ("id eq 7", "column 7: id is an id, and a number was given"),
        ("startswith(size,'2')", "column 12: size is a number, and startswith takes a text"),
        ("endswith(tags,'2')", "column 10: tags is a list, and endswith takes a text"),
        ("contains(name,5)", "column 15: a text in single quotes is expected"),
        ("contains('x',name)", "column 10: a field is expected"),
        ("contains(name 'x')", "column 15: a comma is expected"),
        ("contains(name,'x'", "column 18: ) is expected"),
        ("contains(name,'x') gt true", "column 20: contains takes eq and ne only"),
        ("contains(name,'x') eq 1", "column 23: contains is true or false, and nothing else"),
        ("contains(name,'x') eq", "column 22: true or false is expected"),
        ("length(name) eq 1", "column 1: there is no function length; there are startswith, endswith and contains"),
        ("", "column 1: a field, a literal or a function is expected"),
        ("name", "column 5: an operator (eq, ne, gt, ge, lt or le) is expected"),
        ("'x'", "column 4: an operator (eq, ne, gt, ge, lt or le) is expected"),
        ("name = 'x'", "column 6: '=' has no meaning here"),
        ("name eq \"x\"", "column 9: '\"' has no meaning here"),
        ("name eq", "column 8: a literal is expected: 'text', a number, true, false or null"),
        ("name eq name", "column 9: a literal is expected: 'text', a number, true, false or null"),
        ("1 eq 1", "column 6: a field is expected"),
        ("name eq 'x' name eq 'y'", "column 13: and, or, or the end is expected"),
        ("open)", "column 5: and, or, or the end is expected"),
        ("(open", "column 6: and, or, or ) is expected"),
        ("()", "column 2: a field, a literal or a function is expected"),
        ("open and", "column 9: a field, a literal or a function is expected"),
        ("and open", "column 1: a field, a literal or a function is expected"),
        ("not", "column 4: a field, a literal or a function is expected"),
        ("name eq'x'", "column 8: there must be white space after eq"),
        ("'x'eq name", "column 4: there must be white space before eq"),
        ("(open)and open", "column 7: there must be white space before and"),
        ("open or(open)", "column 8: there must be white space after or"),
        ("not'x' eq name", "column 4: there must be white space after not"),
        ("name eq 'x", "column 9: the text that begins here has no closing quote"),
        ("name eq 'x''", "column 9: the text that begins here has no closing quote"),
        ("name eq 'ö\0'", "column 11: a text cannot hold NUL"),
        ("size eq 1.", "column 9: 1. is no number; numbers are written as 15, -2.5 or 1e3"),
        ("size eq --1", "column 9: --1 is no number; numbers are written as 15, -2.5 or 1e3"),
        ("size eq 5x", "column 9: 5x is no number; numbers are written as 15, -2.5 or 1e3"),
        ("size eq 1e999", "column 9: 1e999 is too large a number"),
    ] {
        assert_eq!(refusal(text), format!("filter, {reason}"), "{text}");
    }
}

#[test]
fn length_and_depth_end_where_they_should() {
    let long = |bytes: usize| format!("name eq '{}'", "x".repeat(bytes - 10));
    parse(&long(MAX_LENGTH), &FIELDS).unwrap();
    assert_eq!(refusal(&long(MAX_LENGTH + 1)), "filter, column 4097: a filter has at most 4096 bytes");
    assert_eq!(refusal(&"ä".repeat(1 << 20)), "filter, column 2049: a filter has at most 4096 bytes");
    let deep = |open: &str, levels: usize| format!("{}open{}", open.repeat(levels), ")".repeat(levels));
    parse(&deep("(", MAX_DEPTH), &FIELDS).unwrap();
    assert_eq!(refusal(&deep("(", MAX_DEPTH + 1)), "filter, column 33: a filter is at most 32 levels deep");
    parse(&format!("{}open", "not ".repeat(MAX_DEPTH)), &FIELDS).unwrap();
    assert_eq!(refusal(&"not ".repeat(1000)), "filter, column 129: a filter is at most 32 levels deep");
    refusal(&"(".repeat(MAX_LENGTH));
    let beside = vec!["(not (open))"; 200].join(" or ");
    assert!(holds(&beside, &bare()), "levels beside each other do not add up");
}

#[test]
fn orders_have_null_first() {
    let text = |text| Some(Value::Text(text));
    let number = |number| Some(Value::Number(number));
    let mut values = [text("b"), None, text("\u{10000}"), text("\u{ffff}"), text("B"), None];
    values.sort_by(|a, b| order(*a, *b));
    assert_eq!(values, [None, None, text("B"), text("b"), text("\u{ffff}"), text("\u{10000}")]);
    assert!(order(number(Number::Whole(2)), number(Number::Real(2.5))).is_lt());
}

/// Pieces of filters, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "name",
        "size",
        "tags",
        "stats/ratio",
        "open",
        "eq",
        "ne",
        "gt",
        "and",
        "or",
        "not",
        "(",
        ")",
        ",",
        "'",
        "''",
        "'x'",
        "1",
        "-2.5",
        "e3",
        "true",
        "null",
        "contains(",
        "startswith(name,'",
        " ",
        " ",
        " ",
        "ö",
        "\0",
        "😀",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_at_one_of_its_columns(text in prop_oneof![any::<String>(), pieces()]) {
        if let Err(refusal) = parse(&text, &FIELDS) {
            prop_assert!((1..=text.chars().count() + 1).contains(&refusal.column), "{}", refusal);
            prop_assert!(!refusal.message.is_empty());
        }
    }
}
