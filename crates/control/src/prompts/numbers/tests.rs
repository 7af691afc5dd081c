//! Tables of numbers in words, per language, against the texts that the voices read.

use std::collections::BTreeSet;

use super::*;
use crate::prompts::SHIPPED;
use crate::prompts::testing::texts;

/// As the voice of the language reads the pieces.
fn said(n: u32, language: &str, counts: bool) -> String {
    let texts = texts(language);
    let pieces = pieces(n, Grammar::of(language), counts).unwrap();
    pieces.iter().map(|name| texts[name].as_str()).collect::<Vec<_>>().join(" ")
}

fn assert_said(language: &str, table: &[(u32, &str)]) {
    for (n, words) in table {
        assert_eq!(said(*n, language, false), *words, "{language} {n}");
    }
}

#[test]
fn english_numbers() {
    assert_said(
        "en",
        &[
            (0, "zero"),
            (1, "one"),
            (12, "twelve"),
            (21, "twenty-one"),
            (99, "ninety-nine"),
            (100, "one hundred"),
            (115, "one hundred fifteen"),
            (1000, "one thousand"),
            (1001, "one thousand one"),
            (9999, "nine thousand nine hundred ninety-nine"),
        ],
    );
    assert_eq!(said(21, "en", true), "twenty-one");
}

#[test]
fn german_numbers() {
    assert_said(
        "de",
        &[
            (0, "null"),
            (1, "eins"),
            (11, "elf"),
            (16, "sechzehn"),
            (17, "siebzehn"),
            (21, "einundzwanzig"),
            (30, "dreißig"),
            (66, "sechsundsechzig"),
            (77, "siebenundsiebzig"),
            (100, "einhundert"),
            (101, "einhundert eins"),
            (1999, "eintausend neunhundert neunundneunzig"),
            (2024, "zweitausend vierundzwanzig"),
        ],
    );
}

#[test]
fn french_numbers() {
    assert_said(
        "fr",
        &[
            (21, "vingt et un"),
            (31, "trente et un"),
            (61, "soixante et un"),
            (70, "soixante-dix"),
            (71, "soixante et onze"),
            (77, "soixante-dix-sept"),
            (79, "soixante-dix-neuf"),
            (80, "quatre-vingts"),
            (81, "quatre-vingt-un"),
            (90, "quatre-vingt-dix"),
            (91, "quatre-vingt-onze"),
            (99, "quatre-vingt-dix-neuf"),
            (100, "cent"),
            (180, "cent quatre-vingts"),
            (1000, "mille"),
            (1100, "mille cent"),
            (2001, "deux mille un"),
        ],
    );
}

#[test]
fn spanish_numbers() {
    assert_said(
        "es",
        &[
            (16, "dieciséis"),
            (21, "veintiuno"),
            (22, "veintidós"),
            (31, "treinta y uno"),
            (100, "cien"),
            (101, "ciento uno"),
            (115, "ciento quince"),
            (200, "doscientos"),
            (500, "quinientos"),
            (700, "setecientos"),
            (999, "novecientos noventa y nueve"),
            (1000, "mil"),
            (1100, "mil cien"),
            (2101, "dos mil ciento uno"),
        ],
    );
    for (n, words) in [
        (2, "dos"),
        (11, "once"),
        (21, "veintiún"),
        (31, "treinta y un"),
        (91, "noventa y un"),
        (100, "cien"),
        (101, "ciento un"),
        (111, "ciento once"),
        (1021, "mil veintiún"),
    ] {
        assert_eq!(said(n, "es", true), words, "{n}");
    }
}

#[test]
fn italian_numbers() {
    assert_said(
        "it",
        &[
            (17, "diciassette"),
            (21, "ventuno"),
            (23, "ventitré"),
            (28, "ventotto"),
            (38, "trentotto"),
            (81, "ottantuno"),
            (100, "cento"),
            (101, "cento uno"),
            (1000, "mille"),
            (2000, "duemila"),
            (3333, "tremila trecento trentatré"),
        ],
    );
}

#[test]
fn portuguese_numbers() {
    assert_said(
        "pt",
        &[
            (14, "quatorze"),
            (16, "dezesseis"),
            (21, "vinte e um"),
            (100, "cem"),
            (101, "cento e um"),
            (150, "cento e cinquenta"),
            (200, "duzentos"),
            (999, "novecentos e noventa e nove"),
            (1000, "mil"),
            (1001, "mil e um"),
            (1100, "mil e cem"),
            (1101, "mil cento e um"),
            (2500, "dois mil e quinhentos"),
            (2534, "dois mil quinhentos e trinta e quatro"),
        ],
    );
}

#[test]
fn russian_numbers() {
    assert_said(
        "ru",
        &[
            (0, "ноль"),
            (11, "одиннадцать"),
            (21, "двадцать один"),
            (40, "сорок"),
            (90, "девяносто"),
            (100, "сто"),
            (222, "двести двадцать два"),
            (500, "пятьсот"),
            (1000, "тысяча"),
            (2003, "две тысячи три"),
            (5000, "пять тысяч"),
        ],
    );
}

#[test]
fn japanese_numbers() {
    assert_said(
        "ja",
        &[
            (0, "ゼロ"),
            (4, "よん"),
            (10, "じゅう"),
            (14, "じゅうよん"),
            (97, "きゅうじゅうなな"),
            (100, "ひゃく"),
            (300, "さんびゃく"),
            (600, "ろっぴゃく"),
            (800, "はっぴゃく"),
            (1000, "せん"),
            (3000, "さんぜん"),
            (8_642, "はっせん ろっぴゃく よんじゅうに"),
        ],
    );
}

#[test]
fn chinese_numbers() {
    assert_said(
        "zh",
        &[
            (0, "零"),
            (2, "二"),
            (10, "十"),
            (12, "十二"),
            (20, "二十"),
            (99, "九十九"),
            (100, "一百"),
            (101, "一百零 一"),
            (110, "一百 一十"),
            (118, "一百 一十八"),
            (120, "一百 二十"),
            (1000, "一千"),
            (1001, "一千零 一"),
            (1010, "一千零 一十"),
            (1100, "一千 一百"),
            (2022, "两千零 二十二"),
            (9_909, "九千 九百零 九"),
        ],
    );
    assert_eq!(said(2, "zh", true), "两");
    assert_eq!(said(12, "zh", true), "十二");
    assert_eq!(said(102, "zh", true), "一百零 二");
}

/// No number needs a sound that is not there, and none is there that no number needs.
#[test]
fn each_language_has_exactly_the_pieces_that_its_numbers_need() {
    for language in SHIPPED {
        let grammar = Grammar::of(language);
        let needed: BTreeSet<String> = (0..10_000)
            .flat_map(|n| [false, true].map(|counts| pieces(n, grammar, counts).unwrap()))
            .flatten()
            .collect();
        let there: BTreeSet<String> = texts(language).into_keys().filter(|name| name.starts_with("number-")).collect();
        assert_eq!(needed, there, "{language}");
    }
    assert_eq!(pieces(10_000, Grammar::Plain, false), None);
}

#[test]
fn russian_plurals_follow_the_last_digits() {
    for (n, plural_of_n) in [
        (2, Plural::Few),
        (4, Plural::Few),
        (5, Plural::Many),
        (11, Plural::Many),
        (12, Plural::Many),
        (14, Plural::Many),
        (20, Plural::Many),
        (21, Plural::One),
        (22, Plural::Few),
        (101, Plural::One),
        (111, Plural::Many),
        (112, Plural::Many),
        (1003, Plural::Few),
    ] {
        assert_eq!(plural(n, Grammar::Russian), plural_of_n, "{n}");
        assert_eq!(plural(n, Grammar::Plain), Plural::Many);
    }
}
