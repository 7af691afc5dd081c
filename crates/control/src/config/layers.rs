//! The layers of settings: finds each key's strongest value and remembers where it was written.
//!
//! The defaults are the schema: a key is known when the defaults have it, and its value must have the same TOML type.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::{RawConfig, SECRET_KEYS, Setting, Sources};

/// What a variable's name begins with to be ours; `__` also parts section from key.
const ENV_PREFIX: &str = "CONCLAVE__";
/// A configuration is a few kilobytes; more is a wrong path (a recording, a device).
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The one list of tables, `[[trunks]]`; serde checks its entries.
const TABLES: &str = "trunks";

/// Which layer gave a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Built in.
    Default,
    /// File and line, from 1.
    File(PathBuf, usize),
    /// Environment variable.
    Env(String),
    /// Command line flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A flag that was given.
#[derive(Clone, Debug)]
pub struct Flag {
    name: &'static str,
    key: &'static str,
    value: String,
}

impl Flag {
    /// `name` as typed (`--api-listen`), the key it sets (`api.listen`), the text after it.
    pub fn new(name: &'static str, key: &'static str, value: impl Into<String>) -> Self {
        Self { name, key, value: value.into() }
    }
}

/// Why the settings cannot be used: one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or is not TOML.
    #[error("{0}")]
    File(String),
    /// No such setting.
    #[error("{key} ({source_}): unknown setting; {hint}")]
    Unknown {
        /// As written.
        key: String,
        /// Where.
        source_: Source,
        /// What there is instead.
        hint: String,
    },
    /// A value that the setting cannot have.
    #[error("{key} ({source_}): {found} is not allowed: must be {allowed}")]
    Value {
        /// Its name.
        key: String,
        /// Where.
        source_: Source,
        /// The value as TOML.
        found: String,
        /// What would be right.
        allowed: String,
    },
}

/// Every setting with its strongest value.
pub(super) fn merge(sources: &Sources) -> Result<BTreeMap<String, Setting>, ConfigError> {
    let schema = Table::try_from(RawConfig::default()).expect("BUG: the defaults are plain TOML values");
    let mut settings = BTreeMap::new();
    for (name, value) in schema {
        match value {
            Value::Table(section) => {
                for (key, value) in section {
                    settings.insert(format!("{name}.{key}"), Setting { value, source: Source::Default });
                }
            }
            value => drop(settings.insert(name, Setting { value, source: Source::Default })),
        }
    }
    if let Some(path) = &sources.file {
        read_file(path, &mut settings)?;
    }
    for (name, text) in &sources.env {
        if let Some(rest) = name.strip_prefix(ENV_PREFIX) {
            let key = rest.to_ascii_lowercase().replace("__", ".");
            set_text(&mut settings, &key, text, Source::Env(name.clone()))?;
        }
    }
    for flag in &sources.flags {
        set_text(&mut settings, flag.key, &flag.value, Source::Flag(flag.name))?;
    }
    Ok(settings)
}

/// Puts the flat keys back into their sections and hands them to serde, which checks the shape once more.
pub(super) fn to_raw(settings: &BTreeMap<String, Setting>) -> Result<RawConfig, ConfigError> {
    let mut root = Table::new();
    for (name, setting) in settings {
        match name.split_once('.') {
            None => drop(root.insert(name.clone(), setting.value.clone())),
            Some((section, key)) => {
                if let Value::Table(table) = root.entry(section).or_insert_with(|| Value::Table(Table::new())) {
                    table.insert(key.to_owned(), setting.value.clone());
                }
            }
        }
    }
    root.try_into().map_err(|e: toml::de::Error| {
        // Every other value was checked when it was set.
        let place = settings.get(TABLES).map_or(Source::Default, |setting| setting.source.clone());
        ConfigError::File(format!("{TABLES} ({place}): {}", one_line(e.message())))
    })
}

/// The error for `key`'s present value.
pub(super) fn fault(settings: &BTreeMap<String, Setting>, key: &str, allowed: &str) -> ConfigError {
    let (found, source) = settings
        .get(key)
        .map_or((String::new(), Source::Default), |setting| (setting.shown(key), setting.source.clone()));
    ConfigError::Value { key: key.to_owned(), source_: source, found, allowed: allowed.to_owned() }
}

fn read_file(path: &Path, settings: &mut BTreeMap<String, Setting>) -> Result<(), ConfigError> {
    let unreadable = |e: &dyn fmt::Display| ConfigError::File(format!("{}: cannot be read: {e}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(|e| unreadable(&e))?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|e| unreadable(&e))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(&"more than 1 MiB is no file of settings"));
    }
    let line_of = |offset: usize| 1 + text.bytes().take(offset).filter(|b| *b == b'\n').count();
    let at = |offset: usize| Source::File(path.to_owned(), line_of(offset));

    let table = DeTable::parse(&text).map_err(|e| {
        let line = line_of(e.span().map_or(0, |span| span.start));
        ConfigError::File(format!("{}:{line}: {}", path.display(), one_line(e.message())))
    })?;
    for (name, value) in table.get_ref() {
        let (key, source) = (name.get_ref().to_string(), at(name.span().start));
        let section = format!("{key}.");
        match value.get_ref() {
            DeValue::Table(keys) if settings.keys().any(|k| k.starts_with(&section)) => {
                for (name, value) in keys {
                    let source = at(name.span().start);
                    set_parsed(settings, &format!("{section}{}", name.get_ref()), value, source)?;
                }
            }
            _ => set_parsed(settings, &key, value, source)?,
        }
    }
    Ok(())
}

fn set_parsed(
    settings: &mut BTreeMap<String, Setting>,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    source: Source,
) -> Result<(), ConfigError> {
    let value = owned(value.get_ref());
    set(settings, key, value, source)
}

/// Reads text by the type that the default has; what does not fit is left as a string for `set` to refuse.
fn set_text(
    settings: &mut BTreeMap<String, Setting>,
    key: &str,
    text: &str,
    source: Source,
) -> Result<(), ConfigError> {
    let as_string = || Value::String(text.to_owned());
    let value = match settings.get(key).map(|setting| &setting.value) {
        Some(Value::Integer(_)) => text.trim().parse().map_or_else(|_| as_string(), Value::Integer),
        Some(Value::Boolean(_)) => text.trim().parse().map_or_else(|_| as_string(), Value::Boolean),
        Some(Value::Array(_)) if text.trim_start().starts_with('[') => text.parse().unwrap_or_else(|_| as_string()),
        Some(Value::Array(_)) => Value::Array(
            text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(|s| Value::String(s.to_owned())).collect(),
        ),
        _ => as_string(),
    };
    set(settings, key, value, source)
}

fn set(settings: &mut BTreeMap<String, Setting>, key: &str, value: Value, source: Source) -> Result<(), ConfigError> {
    let Some(setting) = settings.get_mut(key) else {
        let hint = hint(settings, key);
        return Err(ConfigError::Unknown { key: key.to_owned(), source_: source, hint });
    };
    let allowed = match &setting.value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Boolean(_) => "true or false",
        _ if key == TABLES => "tables, each under its own [[trunks]]",
        _ => "a list of strings",
    };
    let is_item = if key == TABLES { Value::is_table } else { Value::is_str };
    if !setting.value.same_type(&value) || value.as_array().is_some_and(|items| !items.iter().all(is_item)) {
        let found = shown(key, &value);
        return Err(ConfigError::Value { key: key.to_owned(), source_: source, found, allowed: allowed.to_owned() });
    }
    *setting = Setting { value, source };
    Ok(())
}

/// What a person may have meant: the nearest key, and the keys of the section.
fn hint(settings: &BTreeMap<String, Setting>, key: &str) -> String {
    let near = settings
        .keys()
        .map(|k| (distance(k, key), k))
        .min()
        .filter(|(d, _)| *d <= 3)
        .map_or(String::new(), |(_, k)| format!("did you mean {k}? "));
    let section = key.split_once('.').map_or("", |(section, _)| section);
    let inside: Vec<&str> = settings
        .keys()
        .filter_map(|k| k.strip_prefix(section)?.strip_prefix('.'))
        .filter(|_| !section.is_empty())
        .collect();
    if !inside.is_empty() {
        return format!("{near}In [{section}] there are: {}", inside.join(", "));
    }
    let mut sections: Vec<&str> = settings.keys().filter_map(|k| Some(k.split_once('.')?.0)).collect();
    sections.dedup();
    format!("{near}The sections are: {}", sections.join(", "))
}

/// Levenshtein's, on bytes: keys are ASCII and short. Long input is no key: far away.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 3 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let next = (left + 1).min(*cell + 1).min(diagonal + usize::from(x != y));
            diagonal = std::mem::replace(cell, next);
            left = next;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

fn owned(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(s) => Value::String(s.to_string()),
        DeValue::Boolean(b) => Value::Boolean(*b),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix())
            .map_or_else(|_| Value::String(i.as_str().to_owned()), Value::Integer),
        DeValue::Float(x) => x.as_str().parse().map_or_else(|_| Value::String(x.as_str().to_owned()), Value::Float),
        DeValue::Datetime(d) => Value::Datetime(*d),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| owned(item.get_ref())).collect()),
        DeValue::Table(table) => {
            Value::Table(table.iter().map(|(k, v)| (k.get_ref().to_string(), owned(v.get_ref()))).collect())
        }
    }
}

/// A value on one line, cut where it would fill the screen.
pub(super) fn shown(key: &str, value: &Value) -> String {
    let is_empty = value.as_str().is_some_and(str::is_empty) || value.as_array().is_some_and(Vec::is_empty);
    if SECRET_KEYS.contains(&key) && !is_empty {
        return "(hidden)".to_owned();
    }
    let text = one_line(&value.to_string());
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
