//! Numbers as people say them, in pieces that were recorded whole: 0 to 99, the hundreds, the thousands, and the forms that
//! these take next to others. Arithmetic and grammar only.

/// How a language puts numbers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Grammar {
    /// Thousands, hundreds and the rest, one after the other: English (as Americans say it), German, French, Italian,
    /// Japanese; also what an unknown language gets.
    Plain,
    /// 100 is "cien" alone and "ciento" before more; before a noun one is "un", 21 "veintiún".
    Spanish,
    /// 100 is "cem" alone and "cento" before more; "e" joins hundreds to the rest, and thousands to it where no hundreds
    /// and rest both follow.
    Portuguese,
    /// Three plurals.
    Russian,
    /// A gap in the places is "líng"; 10 to 19 are "yīshí…" after a hundred; two of something is "liǎng".
    Chinese,
}

/// Which form a noun takes after a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plural {
    /// Russian 1, 21, 31, but not 11.
    One,
    /// Russian 2 to 4, 22 to 24, but not 12 to 14.
    Few,
    /// All others, and all in languages with one plural.
    Many,
}

impl Plural {
    /// The sound of "participants".
    pub(super) const fn head_count(self) -> &'static str {
        match self {
            Self::One => "head-count-one",
            Self::Few => "head-count-few",
            Self::Many => "head-count-many",
        }
    }
}

impl Grammar {
    /// Of a language tag's first part.
    pub(super) fn of(language: &str) -> Self {
        match language.split(['-', '_']).next().unwrap_or_default() {
            "es" => Self::Spanish,
            "pt" => Self::Portuguese,
            "ru" => Self::Russian,
            "zh" => Self::Chinese,
            _ => Self::Plain,
        }
    }
}

/// The noun's form after `n`, from 2 on.
pub(super) const fn plural(n: u32, grammar: Grammar) -> Plural {
    match (grammar, n % 10, n % 100) {
        (Grammar::Russian, 1, rest) if rest != 11 => Plural::One,
        (Grammar::Russian, 2..=4, rest) if rest < 10 || rest > 20 => Plural::Few,
        _ => Plural::Many,
    }
}

/// Names of the sounds that say `n`; before a noun when it `counts`. `None` from 10,000 on.
pub(super) fn pieces(n: u32, grammar: Grammar, counts: bool) -> Option<Vec<String>> {
    if n > 9_999 {
        return None;
    }
    let (thousands, hundreds, rest) = (n / 1000 * 1000, n % 1000 / 100 * 100, n % 100);
    let mut names = Vec::new();
    if thousands > 0 {
        let joined = match grammar {
            Grammar::Portuguese => (hundreds == 0) != (rest == 0),
            Grammar::Chinese => hundreds == 0 && rest > 0,
            _ => false,
        };
        names.push(form(thousands, if joined { "-and" } else { "" }));
    }
    if hundreds > 0 {
        let joined = match grammar {
            Grammar::Spanish => hundreds == 100 && rest > 0,
            Grammar::Portuguese => rest > 0,
            Grammar::Chinese => (1..10).contains(&rest),
            _ => false,
        };
        names.push(form(hundreds, if joined { "-and" } else { "" }));
    }
    if rest > 0 || n == 0 {
        let is_inner = thousands + hundreds > 0;
        let shape = match grammar {
            Grammar::Spanish if counts && rest % 10 == 1 && rest != 11 => "-noun",
            Grammar::Chinese if counts && n == 2 => "-noun",
            Grammar::Chinese if is_inner && (10..20).contains(&rest) => "-inner",
            _ => "",
        };
        names.push(form(rest, shape));
    }
    Some(names)
}

fn form(n: u32, shape: &str) -> String {
    format!("number-{n}{shape}")
}

#[cfg(test)]
mod tests;
