//! From lexemes to a condition: precedence, and each literal as its field's kind wants it. Recurses as deep as a filter may
//! be, and no deeper.

use winnow::stream::{Stream, TokenSlice};

use super::lexemes::{Lexeme, Token};
use super::{Comparison, Condition, Fault, Field, Fields, Kind, Literal, MAX_DEPTH, MAX_SHOWN, Number, Test};
use crate::ids::Id;
use crate::time;

const OPERATORS: &str = "an operator (eq, ne, gt, ge, lt or le) is expected";

/// Reads all of them; `end` is where the text ends.
pub(super) fn read<S>(lexemes: &[Lexeme<'_>], end: usize, fields: &Fields<S>) -> Result<Condition<S>, Fault> {
    let mut grammar = Grammar { rest: TokenSlice::new(lexemes), read_to: 0, end, fields, depth: 0 };
    let condition = grammar.any()?;
    match grammar.peek() {
        None => Ok(condition),
        Some(_) => Err(grammar.expected("and, or, or the end is expected")),
    }
}

struct Grammar<'t, S: 'static> {
    rest: TokenSlice<'t, Lexeme<'t>>,
    /// End of the lexeme that was read last.
    read_to: usize,
    end: usize,
    fields: &'t Fields<S>,
    depth: usize,
}

/// A literal as written, before it is one of its field's kind.
enum Written<'t> {
    Text(&'t str),
    Number(Number),
    Boolean(bool),
    Null,
}

#[derive(Clone, Copy)]
enum Function {
    StartsWith,
    EndsWith,
    Contains,
}

impl<'t, S> Grammar<'t, S> {
    // -- precedence ----------------------------------------------------------------------------------------------------

    fn any(&mut self) -> Result<Condition<S>, Fault> {
        let first = self.all()?;
        let mut parts = vec![first];
        while self.joined("or")? {
            parts.push(self.all()?);
        }
        Ok(alone(parts, Condition::Any))
    }

    fn all(&mut self) -> Result<Condition<S>, Fault> {
        let first = self.one()?;
        let mut parts = vec![first];
        while self.joined("and")? {
            parts.push(self.one()?);
        }
        Ok(alone(parts, Condition::All))
    }

    fn one(&mut self) -> Result<Condition<S>, Fault> {
        match self.peek() {
            Some(Lexeme { token: Token::Word(word), start, .. }) if word.eq_ignore_ascii_case("not") => {
                self.enter(*start)?;
                self.next();
                if !matches!(self.peek(), Some(Lexeme { token: Token::Open, .. })) {
                    self.space_after("not")?;
                }
                let inner = self.one()?;
                self.depth -= 1;
                Ok(Condition::Not(Box::new(inner)))
            }
            Some(Lexeme { token: Token::Open, start, .. }) => {
                self.enter(*start)?;
                self.next();
                let inner = self.any()?;
                self.sign(&Token::Close, "and, or, or ) is expected")?;
                self.depth -= 1;
                Ok(inner)
            }
            _ => self.test(),
        }
    }

    fn enter(&mut self, at: usize) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::new(at, format!("a filter is at most {MAX_DEPTH} levels deep")));
        }
        Ok(())
    }

    /// Takes `and` or `or`, if it comes next.
    fn joined(&mut self, word: &'static str) -> Result<bool, Fault> {
        match self.peek() {
            Some(Lexeme { token: Token::Word(next), .. }) if next.eq_ignore_ascii_case(word) => {
                self.word(word)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    // -- one field -----------------------------------------------------------------------------------------------------

    fn test(&mut self) -> Result<Condition<S>, Fault> {
        if let Some((literal, at)) = self.literal() {
            let (comparison, operator_at) = self.comparison()?.ok_or_else(|| self.expected(OPERATORS))?;
            let field = self.field("a field is expected")?;
            return typed(field, (comparison.flipped(), operator_at), literal, at);
        }
        let named = self.peek();
        if let Some(Lexeme { token: Token::Word(word), start, .. }) = named
            && matches!(self.rest.get(1), Some(Lexeme { token: Token::Open, .. }))
        {
            return self.function(word, *start);
        }
        let field = self.field("a field, a literal or a function is expected")?;
        let Some(comparison) = self.comparison()? else {
            // A boolean may stand for itself.
            return match field.kind {
                Kind::Boolean => Ok(Condition::Test(field, Test::Compares(Comparison::Equal, Literal::Boolean(true)))),
                _ => Err(self.expected(OPERATORS)),
            };
        };
        let (literal, at) = self
            .literal()
            .ok_or_else(|| self.expected("a literal is expected: 'text', a number, true, false or null"))?;
        typed(field, comparison, literal, at)
    }

    fn function(&mut self, name: &str, at: usize) -> Result<Condition<S>, Fault> {
        let function = match name.to_ascii_lowercase().as_str() {
            "startswith" => Function::StartsWith,
            "endswith" => Function::EndsWith,
            "contains" => Function::Contains,
            _ => {
                let shown: String = name.chars().take(MAX_SHOWN).collect();
                let message = format!("there is no function {shown}; there are startswith, endswith and contains");
                return Err(Fault::new(at, message));
            }
        };
        self.next();
        self.next();
        let field_at = self.here();
        let field = self.field("a field is expected")?;
        let test = match (function, field.kind) {
            (Function::StartsWith, Kind::Text) => Test::StartsWith,
            (Function::EndsWith, Kind::Text) => Test::EndsWith,
            (Function::Contains, Kind::Text) => Test::Contains,
            (Function::Contains, Kind::List) => Test::Has,
            (_, kind) => {
                let message = format!("{} is {}, and {name} takes a text", field.name, kind.article());
                return Err(Fault::new(field_at, message));
            }
        };
        self.sign(&Token::Comma, "a comma is expected")?;
        let Some(Lexeme { token: Token::Text(text), .. }) = self.peek() else {
            return Err(self.expected("a text in single quotes is expected"));
        };
        self.next();
        self.sign(&Token::Close, ") is expected")?;
        let condition = Condition::Test(field, test(text.clone()));
        let Some((comparison, operator_at)) = self.comparison()? else { return Ok(condition) };
        let expected = match comparison {
            Comparison::Equal => true,
            Comparison::NotEqual => false,
            _ => return Err(Fault::new(operator_at, format!("{name} takes eq and ne only"))),
        };
        match self.literal() {
            Some((Written::Boolean(said), _)) if said == expected => Ok(condition),
            Some((Written::Boolean(_), _)) => Ok(Condition::Not(Box::new(condition))),
            Some((_, at)) => Err(Fault::new(at, format!("{name} is true or false, and nothing else"))),
            None => Err(self.expected("true or false is expected")),
        }
    }

    fn field(&mut self, expected: &'static str) -> Result<&'static Field<S>, Fault> {
        let Some(Lexeme { token: Token::Word(name), start, .. }) = self.peek() else {
            return Err(self.expected(expected));
        };
        let is_reserved = ["and", "or", "not", "true", "false", "null"].iter().any(|w| w.eq_ignore_ascii_case(name));
        if is_reserved || Comparison::parse(name).is_some() {
            return Err(self.expected(expected));
        }
        let field = self.fields.find(name).map_err(|message| Fault::new(*start, message))?;
        self.next();
        Ok(field)
    }

    /// Takes an operator, if one comes next, with its place.
    fn comparison(&mut self) -> Result<Option<(Comparison, usize)>, Fault> {
        let Some(Lexeme { token: Token::Word(word), start, .. }) = self.peek() else { return Ok(None) };
        let Some(comparison) = Comparison::parse(word) else { return Ok(None) };
        self.word(word)?;
        Ok(Some((comparison, *start)))
    }

    /// Takes a literal, if one comes next, with its place.
    fn literal(&mut self) -> Option<(Written<'t>, usize)> {
        let lexeme = self.peek()?;
        let literal = match &lexeme.token {
            Token::Text(text) => Written::Text(text),
            Token::Number(number) => Written::Number(*number),
            Token::Word(word) if word.eq_ignore_ascii_case("true") => Written::Boolean(true),
            Token::Word(word) if word.eq_ignore_ascii_case("false") => Written::Boolean(false),
            Token::Word(word) if word.eq_ignore_ascii_case("null") => Written::Null,
            _ => return None,
        };
        self.next();
        Some((literal, lexeme.start))
    }

    // -- lexemes -------------------------------------------------------------------------------------------------------

    fn peek(&self) -> Option<&'t Lexeme<'t>> {
        self.rest.peek_token()
    }

    fn next(&mut self) {
        if let Some(lexeme) = self.rest.next_token() {
            self.read_to = lexeme.end;
        }
    }

    /// Where the next lexeme begins, or the end.
    fn here(&self) -> usize {
        self.peek().map_or(self.end, |lexeme| lexeme.start)
    }

    fn expected(&self, what: &str) -> Fault {
        Fault::new(self.here(), what)
    }

    fn sign(&mut self, sign: &Token<'_>, expected: &str) -> Result<(), Fault> {
        if self.peek().is_none_or(|lexeme| lexeme.token != *sign) {
            return Err(self.expected(expected));
        }
        self.next();
        Ok(())
    }

    /// Takes a word that has white space on both sides.
    fn word(&mut self, word: &str) -> Result<(), Fault> {
        if self.here() == self.read_to {
            return Err(self.expected(&format!("there must be white space before {word}")));
        }
        self.next();
        self.space_after(word)
    }

    fn space_after(&self, word: &str) -> Result<(), Fault> {
        match self.peek() {
            Some(next) if next.start == self.read_to => {
                Err(Fault::new(next.start, format!("there must be white space after {word}")))
            }
            _ => Ok(()),
        }
    }
}

/// One part stands for itself.
fn alone<S>(mut parts: Vec<Condition<S>>, join: fn(Vec<Condition<S>>) -> Condition<S>) -> Condition<S> {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            parts.push(last);
            join(parts)
        }
        (_, None) => join(parts),
    }
}

/// The comparison, if the field takes it with this literal.
fn typed<S>(
    field: &'static Field<S>,
    (comparison, operator_at): (Comparison, usize),
    literal: Written<'_>,
    at: usize,
) -> Result<Condition<S>, Fault> {
    let Field { name, kind, .. } = *field;
    let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    let literal = match (kind, literal) {
        (_, Written::Null) => {
            return match comparison {
                Comparison::Equal => Ok(Condition::Test(field, Test::IsNull)),
                Comparison::NotEqual => Ok(Condition::Test(field, Test::IsSet)),
                _ => Err(Fault::new(operator_at, "null takes eq and ne only")),
            };
        }
        (Kind::List, _) => {
            return Err(Fault::new(at, format!("{name} is a list, and takes contains, eq null and ne null only")));
        }
        (Kind::Object, _) => {
            return Err(Fault::new(at, format!("{name} is an object, and takes eq null and ne null only")));
        }
        (Kind::Boolean, Written::Boolean(_)) if !is_equality => {
            return Err(Fault::new(operator_at, format!("{name} is a boolean, and takes eq and ne only")));
        }
        (Kind::Boolean, Written::Boolean(value)) => Literal::Boolean(value),
        (Kind::Text, Written::Text(text)) => Literal::Text(text.to_owned()),
        (Kind::Number, Written::Number(number)) => Literal::Number(number),
        (Kind::Time, Written::Text(text)) => {
            let rule =
                || format!("{name} is a time, and the text is none as RFC 3339 has it, such as {}", time::EXAMPLE);
            Literal::Time(time::from_rfc3339(text).ok_or_else(|| Fault::new(at, rule()))?)
        }
        (Kind::Id, Written::Text(text)) => {
            let rule = || format!("{name} is an id, and the text is none that this server could have made");
            Literal::Id(Id::parse(text).ok_or_else(|| Fault::new(at, rule()))?)
        }
        (kind, written) => {
            let given = match written {
                Written::Text(_) => Kind::Text,
                Written::Number(_) => Kind::Number,
                Written::Boolean(_) | Written::Null => Kind::Boolean,
            };
            let message = format!("{name} is {}, and {} was given", kind.article(), given.article());
            return Err(Fault::new(at, message));
        }
    };
    Ok(Condition::Test(field, Test::Compares(comparison, literal)))
}
