//! What the voices read, as the tests want it.

use std::collections::BTreeMap;

/// Name and text of each sound of a language, put together as `scripts/prompts` does; those with an empty text are left out.
pub(super) fn texts(language: &str) -> BTreeMap<String, String> {
    let path = format!("{}/prompts/texts/{language}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut said = phrases(&table);
    let numbers = table["numbers"].as_table().unwrap();
    for (start, step, key) in [(0, 1, "under-hundred"), (100, 100, "hundreds"), (1000, 1000, "thousands")] {
        for (at, words) in (0..).zip(numbers[key].as_array().unwrap()) {
            said.insert(format!("number-{}", start + step * at), words.as_str().unwrap().to_owned());
        }
    }
    for (form, words) in numbers["forms"].as_table().unwrap() {
        said.insert(format!("number-{form}"), words.as_str().unwrap().to_owned());
    }
    said.retain(|_, words| !words.is_empty());
    said
}

/// With the empty ones.
pub(super) fn phrases(table: &toml::Table) -> BTreeMap<String, String> {
    let phrases = table["phrases"].as_table().unwrap();
    phrases.iter().map(|(name, words)| (name.clone(), words.as_str().unwrap().to_owned())).collect()
}
