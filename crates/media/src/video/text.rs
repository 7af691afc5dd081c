//! Names as letters: one line of DejaVu Sans as a mask. Runs on the composer's thread, when a name or a size is new; the
//! caller keeps what it gets. Knows neither colours nor pictures. Letters stand from left to right, each for itself.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, Glyph, GlyphId, PxScaleFont, ScaleFont, point};

use super::canvas::mask::Mask;

/// Characters of a name that are drawn at the most.
pub const MAX_NAME_CHARS: usize = 64;
/// Heights past this are cut: four such letters fill the largest canvas.
const MAX_LINE_PX: usize = 512;
const ELLIPSIS: char = '…';

static REGULAR: LazyLock<FontRef<'static>> = LazyLock::new(|| parsed(dejavu::sans::regular()));
static BOLD: LazyLock<FontRef<'static>> = LazyLock::new(|| parsed(dejavu::sans::bold()));

fn parsed(bytes: &'static [u8]) -> FontRef<'static> {
    FontRef::try_from_slice(bytes).expect("BUG: the font that is compiled in is a font")
}

/// The strength of the letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// For names.
    Regular,
    /// For initials.
    Bold,
}

impl Weight {
    fn font(self) -> &'static FontRef<'static> {
        match self {
            Self::Regular => &REGULAR,
            Self::Bold => &BOLD,
        }
    }
}

/// Takes room of its own in no writing: marks of direction, joiners, selectors of variants.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// The name as it is drawn: one line without control characters, white space single, at most [`MAX_NAME_CHARS`].
pub fn tidy(name: &str) -> String {
    let mut tidy = String::new();
    let mut count = 0;
    for word in name.split(|c: char| c.is_whitespace() || c.is_control()) {
        let mut letters = word.chars().filter(|c| !is_invisible(*c)).take(MAX_NAME_CHARS).peekable();
        if letters.peek().is_some() && !tidy.is_empty() {
            tidy.push(' ');
            count += 1;
        }
        for letter in letters {
            if count >= MAX_NAME_CHARS {
                return tidy;
            }
            tidy.push(letter);
            count += 1;
        }
        if count >= MAX_NAME_CHARS {
            break;
        }
    }
    tidy
}

/// One or two letters that stand for a name: of its first and last word; of a telephone number, the last two digits. Empty
/// when the font has none of them.
pub fn initials(name: &str) -> String {
    let font = Weight::Bold.font();
    let name = tidy(name);
    let is_drawn = |c: &char| c.is_alphanumeric() && font.glyph_id(*c).0 != 0;
    let mut firsts = name.split(' ').filter_map(|word| word.chars().find(is_drawn));
    if !name.chars().any(char::is_alphabetic) {
        let digits: Vec<char> = name.chars().filter(is_drawn).collect();
        return digits.iter().skip(digits.len().saturating_sub(2)).collect();
    }
    let first = firsts.next();
    first.into_iter().chain(firsts.next_back()).flat_map(char::to_uppercase).take(2).collect()
}

/// One line of `line_px` pixels in height, not wider than `max_width_px`: longer ones end in an ellipsis. Characters without a
/// glyph are drawn as the font's box. Empty when there is nothing to draw or no room.
pub fn line(text: &str, weight: Weight, line_px: usize, max_width_px: usize) -> Mask {
    let font = weight.font().as_scaled(line_px.clamp(1, MAX_LINE_PX) as f32);
    let tidy = tidy(text);
    let mut glyphs = placed(&font, tidy.chars());
    if glyphs.1.ceil() as usize > max_width_px {
        let letters: Vec<char> = tidy.chars().collect();
        // The longest beginning that fits together with the ellipsis.
        let fitting = (1..letters.len()).rev().find_map(|len| {
            let start: String = letters.iter().take(len).collect();
            let placed = placed(&font, start.trim_end().chars().chain([ELLIPSIS]));
            (placed.1.ceil() as usize <= max_width_px).then_some(placed)
        });
        glyphs = fitting.unwrap_or_default();
    }
    let (glyphs, width) = glyphs;
    if glyphs.is_empty() {
        return Mask::default();
    }
    let mut mask = Mask::clear(width.ceil() as usize, font.height().ceil() as usize);
    for glyph in glyphs {
        let Some(outlined) = font.outline_glyph(glyph) else { continue };
        let bounds = outlined.px_bounds();
        outlined.draw(|x, y, covered| {
            let (x, y) = (x as f32 + bounds.min.x, y as f32 + bounds.min.y);
            if x >= 0.0 && y >= 0.0 {
                mask.cover(x as usize, y as usize, (covered * 255.0).round() as u8);
            }
        });
    }
    mask
}

/// Glyphs side by side on one baseline, and how wide they are together.
fn placed(font: &PxScaleFont<&FontRef<'static>>, letters: impl Iterator<Item = char>) -> (Vec<Glyph>, f32) {
    let mut glyphs = Vec::new();
    let mut x = 0.0;
    let mut before: Option<GlyphId> = None;
    for letter in letters {
        let id = font.glyph_id(letter);
        x += before.map_or(0.0, |before| font.kern(before, id));
        glyphs.push(id.with_scale_and_position(font.scale(), point(x, font.ascent())));
        x += font.h_advance(id);
        before = Some(id);
    }
    (glyphs, x.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ink(mask: &Mask) -> usize {
        mask.rows().flatten().map(|c| usize::from(*c)).sum()
    }

    #[test]
    fn names_are_one_tidy_line() {
        for (name, expected) in [
            ("Anna Müller", "Anna Müller"),
            ("  Anna\r\n\tMüller \u{0}", "Anna Müller"),
            ("", ""),
            (" \u{7}\u{200f} ", ""),
            ("\u{202e}evil", "evil"),
            ("a\u{0}b", "a b"),
        ] {
            assert_eq!(tidy(name), expected, "{name:?}");
        }
        assert_eq!(tidy(&"ä".repeat(1000)).chars().count(), MAX_NAME_CHARS);
        assert_eq!(tidy(&"ab ".repeat(1000)).chars().count(), MAX_NAME_CHARS);
    }

    #[test]
    fn initials_stand_for_first_and_last_word() {
        for (name, expected) in [
            ("Anna Müller", "AM"),
            ("anna maria von der heide", "AH"),
            ("Ömer", "Ö"),
            ("(Guest) 7", "G7"),
            ("+49 30 123456", "56"),
            ("7", "7"),
            ("1001", "01"),
            ("", ""),
            ("!?", ""),
            ("山田 太郎", ""),
            ("straße ß", "SS"),
            ("Жанна Агузарова", "ЖА"),
        ] {
            assert_eq!(initials(name), expected, "{name:?}");
        }
    }

    #[test]
    fn line_is_as_wide_as_its_text_and_never_wider_than_allowed() {
        let short = line("Anna", Weight::Regular, 20, 1000);
        let long = line("Anna-Katharina", Weight::Regular, 20, 1000);
        assert!(ink(&short) > 0 && short.height() == 20 && short.width() < long.width());
        for max in [0, 1, 5, 20, 40, 80, 100] {
            let cut = line("Anna-Katharina", Weight::Regular, 20, max);
            assert!(cut.width() <= max);
        }
        let cut = line("Anna-Katharina", Weight::Regular, 20, 80);
        assert!(cut.width() > 60 && ink(&cut) > 0);
    }

    #[test]
    fn whatever_the_name_nothing_panics() {
        for name in
            ["", "\n", "山田太郎", "👩‍👩‍👧‍👦", "שלום עולם", "مرحبا", "e\u{301}\u{301}\u{301}", "\u{10ffff}", "ﷺ﷽", "i̇"]
        {
            for size in [0, 1, 12, 30, 10_000] {
                for max in [0, 3, 50, 10_000] {
                    let mask = line(name, Weight::Regular, size, max);
                    assert!(mask.width() <= max, "{name:?}");
                }
            }
            drop(initials(name));
        }
        assert!(line("", Weight::Bold, 20, 100).is_empty());
        assert!(ink(&line("山", Weight::Regular, 20, 100)) > 0, "a box stands for what the font does not have");
    }
}
