//! Language tags and what is left of them when nobody speaks the whole (RFC 4647 §3.4). Pure.

/// A tag and what is left when its last parts are taken away, in lower case: `zh-hant-hk`, `zh-hant`, `zh`.
pub(crate) fn lookup(tag: &str) -> impl Iterator<Item = String> + use<> {
    let mut rest = Some(tag.replace('_', "-").to_lowercase());
    std::iter::from_fn(move || {
        let tag = rest.take()?;
        rest = tag.rsplit_once('-').map(|(start, _)| start.to_owned());
        Some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_shortened_from_its_end() {
        assert_eq!(lookup("zh-Hant_HK").collect::<Vec<_>>(), ["zh-hant-hk", "zh-hant", "zh"]);
        assert_eq!(lookup("en").collect::<Vec<_>>(), ["en"]);
        assert_eq!(lookup("").collect::<Vec<_>>(), [""]);
    }
}
