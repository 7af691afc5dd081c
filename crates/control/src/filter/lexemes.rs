//! A filter's text as words, texts, numbers and signs, each with its place. Nothing here recurses.

use winnow::combinator::{alt, dispatch, fail, opt, peek, repeat};
use winnow::error::ParserError;
use winnow::prelude::*;
use winnow::stream::{LocatingSlice, Location, Stream};
use winnow::token::{any, one_of, take_while};

use super::{Fault, MAX_SHOWN, Number};

/// The smallest thing with a meaning.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'t> {
    /// A field, an operator, a function, `true`, `false` or `null`.
    Word(&'t str),
    /// Out of its quotes.
    Text(String),
    Number(Number),
    Open,
    Close,
    Comma,
}

/// A token and its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lexeme<'t> {
    pub(super) token: Token<'t>,
    pub(super) start: usize,
    pub(super) end: usize,
}

type Input<'t> = LocatingSlice<&'t str>;

impl<'t> ParserError<Input<'t>> for Fault {
    type Inner = Self;

    fn from_input(input: &Input<'t>) -> Self {
        let at = input.current_token_start();
        match input.peek_token() {
            Some(sign) => Self::new(at, format!("{sign:?} has no meaning here")),
            None => Self::new(at, "the filter ends too early"),
        }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

pub(super) fn read(text: &str) -> Result<Vec<Lexeme<'_>>, Fault> {
    let mut input = Input::new(text);
    let mut lexemes = Vec::new();
    loop {
        white_space(&mut input)?;
        if input.is_empty() {
            return Ok(lexemes);
        }
        let start = input.current_token_start();
        let token = token(&mut input)?;
        lexemes.push(Lexeme { token, start, end: input.current_token_start() });
    }
}

fn white_space<'t>(input: &mut Input<'t>) -> Result<&'t str, Fault> {
    take_while(0.., (' ', '\t', '\r', '\n')).parse_next(input)
}

fn token<'t>(input: &mut Input<'t>) -> Result<Token<'t>, Fault> {
    dispatch! { peek(any);
        '(' => '('.value(Token::Open),
        ')' => ')'.value(Token::Close),
        ',' => ','.value(Token::Comma),
        '\'' => text.map(Token::Text),
        '0'..='9' | '-' | '+' | '.' => number.map(Token::Number),
        first if is_word(first) => take_while(1.., is_word).map(Token::Word),
        _ => fail,
    }
    .parse_next(input)
}

/// Letters of any script, so that a misspelt name is told as a whole.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '/'
}

fn text(input: &mut Input<'_>) -> Result<String, Fault> {
    let start = input.current_token_start();
    '\''.parse_next(input)?;
    let part = alt((take_while(1.., |c| !matches!(c, '\'' | '\0')), "''".value("'")));
    let text = repeat(0.., part).fold(String::new, |text, part: &str| text + part).parse_next(input)?;
    match opt(any::<_, Fault>).parse_next(input)? {
        Some('\'') => Ok(text),
        // No database takes it.
        Some(_) => Err(Fault::new(input.previous_token_end() - 1, "a text cannot hold NUL")),
        None => Err(Fault::new(start, "the text that begins here has no closing quote")),
    }
}

fn number(input: &mut Input<'_>) -> Result<Number, Fault> {
    let start = input.current_token_start();
    let written: &str = take_while(1.., |c| is_word(c) || matches!(c, '-' | '+' | '.')).parse_next(input)?;
    let refused = |why: &str| {
        let shown: String = written.chars().take(MAX_SHOWN).collect();
        Fault::new(start, format!("{shown} {why}"))
    };
    shape.parse(written).map_err(|_| refused("is no number; numbers are written as 15, -2.5 or 1e3"))?;
    if let Ok(whole) = written.parse() {
        return Ok(Number::Whole(whole));
    }
    let real = written.parse().ok().filter(|real: &f64| real.is_finite());
    real.map(Number::Real).ok_or_else(|| refused("is too large a number"))
}

/// A number and nothing else.
fn shape(input: &mut &str) -> Result<(), winnow::error::EmptyError> {
    let digits = || take_while(1.., '0'..='9').void();
    let exponent = (one_of(['e', 'E']), opt(one_of(['+', '-'])), digits());
    (opt('-'), digits(), opt(('.', digits())), opt(exponent)).void().parse_next(input)
}
