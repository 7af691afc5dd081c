//! List options (api.md section 1), with and without a leading `$`, and ids in paths.

use std::borrow::Cow;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::schema::{Array, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::fields::Named;
use super::pairs;
use crate::error::{Error, Violation};
use crate::filter::{self, Fields, Kind};
use crate::ids::Id;
use crate::store::{Listing, MAX_ORDER_PARTS, Order, Page};

/// Characters of a search.
pub(super) const MAX_SEARCH: usize = 256;
/// Left out at the start of a list.
pub(super) const MAX_SKIP: i64 = i32::MAX as i64;
/// Of a page.
pub(super) const MAX_TOP: i64 = 100;

/// A list as it is answered.
#[derive(Serialize)]
pub(super) struct Items<T> {
    count: i64,
    items: Vec<T>,
}

impl<T> Items<T> {
    pub(super) fn new(count: i64, items: Vec<T>) -> Self {
        Self { count, items }
    }

    pub(super) fn of<R: Into<T>>(page: Page<R>) -> Self {
        Self { count: page.count, items: page.items.into_iter().map(Into::into).collect() }
    }
}

impl<T: ToSchema> PartialSchema for Items<T> {
    fn schema() -> RefOr<Schema> {
        let count = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0))
            .description(Some("How many match, all pages together."))
            .examples([1]);
        let items = Array::builder().items(Ref::from_schema_name(T::name())).description(Some("This page."));
        let list = ObjectBuilder::new().description(Some("A page of a list, and how long the list is."));
        list.property("count", count).property("items", items).into()
    }
}

impl<T: ToSchema> ToSchema for Items<T> {
    fn name() -> Cow<'static, str> {
        format!("{}List", T::name()).into()
    }

    fn schemas(named: &mut Named) {
        named.push((T::name().into_owned(), T::schema()));
        T::schemas(named);
    }
}

/// An id of the path. What does not decode cannot exist: 404.
pub(super) fn id(wire: &str, what: &'static str) -> Result<Id, Error> {
    Id::parse(wire).ok_or(Error::NotFound(what))
}

/// What a path names. What cannot be decoded cannot exist: 404 too.
pub(super) struct InPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(named)| Self(named)).map_err(|_| Error::NotFound("resource"))
    }
}

/// The options as written.
#[derive(Debug, Default)]
pub(super) struct ListQuery {
    search: Option<String>,
    orderby: Option<String>,
    skip: Option<String>,
    top: Option<String>,
    count: Option<String>,
    filter: Option<String>,
    violations: Vec<Violation>,
}

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        Ok(Self::from_pairs(pairs::of_query(&parts.uri)?))
    }
}

impl ListQuery {
    fn from_pairs(pairs: Vec<(String, String)>) -> Self {
        let mut query = Self::default();
        for (name, value) in pairs {
            let (option, name) = match name.strip_prefix('$').unwrap_or(&name) {
                "search" => (&mut query.search, "search"),
                "orderby" => (&mut query.orderby, "orderby"),
                "skip" => (&mut query.skip, "skip"),
                "top" => (&mut query.top, "top"),
                "count" => (&mut query.count, "count"),
                "filter" => (&mut query.filter, "filter"),
                _ => continue,
            };
            if option.replace(value).is_some() {
                query.violations.push(Violation::new(name, format!("{name} is given twice")));
            }
        }
        query
    }

    /// What is listed, by fields that may be named.
    pub(super) fn listing<S>(self, fields: &Fields<S>) -> Result<Listing<S>, Error> {
        let mut violations = self.violations;
        if self.count.as_deref().is_some_and(|c| !matches!(c, "true" | "false")) {
            violations.push(Violation::new("count", "count must be true or false"));
        }
        let mut number = |name: &'static str, text: Option<String>, least: i64, most: i64, default: i64| {
            let Some(text) = text else { return default };
            text.parse().ok().filter(|n| (least..=most).contains(n)).unwrap_or_else(|| {
                violations.push(Violation::new(name, format!("{name} must be a number from {least} to {most}")));
                default
            })
        };
        let skip = number("skip", self.skip, 0, MAX_SKIP, 0);
        let top = number("top", self.top, 1, MAX_TOP, MAX_TOP);
        let search = self.search.filter(|search| !search.is_empty());
        if search.as_ref().is_some_and(|search| search.chars().count() > MAX_SEARCH || search.contains('\0')) {
            violations.push(Violation::new("search", format!("search must have at most {MAX_SEARCH} characters")));
        }
        let order = order(self.orderby.as_deref().unwrap_or(""), fields).unwrap_or_else(|message| {
            violations.push(Violation::new("orderby", message));
            Vec::new()
        });
        let filter = self.filter.filter(|text| !text.trim().is_empty());
        let filter = filter.map(|text| filter::parse(&text, fields)).transpose().unwrap_or_else(|refusal| {
            violations.push(Violation::new("filter", refusal.to_string()));
            None
        });
        if violations.is_empty() {
            Ok(Listing { filter, search, order, skip, top })
        } else {
            Err(Error::Invalid(violations))
        }
    }
}

/// `a asc, b desc`.
fn order<S>(text: &str, fields: &Fields<S>) -> Result<Vec<Order<S>>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let part = |part: &str| {
        let mut words = part.split_ascii_whitespace();
        let field = words.next().ok_or("orderby has an empty part")?;
        let descending = match words.next() {
            None => false,
            Some(word) if word.eq_ignore_ascii_case("asc") => false,
            Some(word) if word.eq_ignore_ascii_case("desc") => true,
            Some(_) => return Err("orderby takes asc or desc after a field".to_owned()),
        };
        if words.next().is_some() {
            return Err("orderby parts are separated by commas".to_owned());
        }
        let field = fields.find(field).map_err(|why| format!("orderby: {why}"))?;
        if field.kind == Kind::Object {
            return Err(format!("orderby: {} is an object; name one of its fields", field.name));
        }
        Ok(Order { field, descending })
    };
    let parts: Vec<&str> = text.splitn(MAX_ORDER_PARTS + 1, ',').collect();
    if parts.len() > MAX_ORDER_PARTS {
        return Err(format!("orderby must have at most {MAX_ORDER_PARTS} parts"));
    }
    parts.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Column, Store};

    const FIELDS: Fields<Column> = Fields { all: Store::ROOM_FIELDS, hidden: &["room_pin"] };

    fn listing(pairs: &[(&str, &str)]) -> Result<Listing, Error> {
        let pairs = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        ListQuery::from_pairs(pairs).listing(&FIELDS)
    }

    #[test]
    fn options_work_with_and_without_a_dollar() {
        let plain = listing(&[
            ("filter", "subject eq 'x'"),
            ("search", "x"),
            ("orderby", "subject desc, id"),
            ("skip", "5"),
            ("top", "7"),
        ])
        .unwrap();
        let dollar = listing(&[
            ("$filter", "subject eq 'x'"),
            ("$search", "x"),
            ("$orderby", "subject DESC,id ASC"),
            ("$skip", "5"),
            ("$top", "7"),
            ("$count", "true"),
            ("$unknown", "kept out"),
        ])
        .unwrap();
        assert_eq!(plain, dollar);
        let order = [("subject", true), ("id", false)];
        let by = |(name, descending)| Order { field: FIELDS.find(name).unwrap(), descending };
        assert_eq!((plain.order.as_slice(), plain.skip, plain.top), (order.map(by).as_slice(), 5, 7));
        assert!(plain.filter.is_some());
        assert_eq!(listing(&[("orderby", ""), ("search", ""), ("filter", " ")]).unwrap(), Listing::default());
    }

    #[test]
    fn every_broken_option_is_named() {
        let long = "a,".repeat(100);
        for (name, value) in [
            ("skip", "-1"),
            ("skip", "99999999999999999999"),
            ("top", "0"),
            ("top", "101"),
            ("top", "x"),
            ("count", "maybe"),
            ("filter", "subject eq 5"),
            ("filter", "room_pin eq '1234'"),
            ("orderby", "room_pin"),
            ("orderby", "nothing"),
            ("orderby", "subject sideways"),
            ("orderby", "subject desc desc"),
            ("orderby", "id,"),
            ("orderby", "id; DROP TABLE rooms"),
            ("orderby", &long),
            ("search", &"x".repeat(257)),
        ] {
            let Err(Error::Invalid(violations)) = listing(&[(name, value)]) else { panic!("{name}={value}") };
            assert_eq!(violations.iter().map(|v| v.field.as_ref()).collect::<Vec<_>>(), [name], "{value}");
        }
        let Err(Error::Invalid(both)) = listing(&[("top", "0"), ("skip", "-1"), ("$skip", "1")]) else { panic!() };
        assert_eq!(both.len(), 2, "{both:?}");
    }
}
