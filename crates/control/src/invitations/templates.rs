//! The words of invitations, in nine languages, and the templates that they are put into; an operator's files take the place
//! of ours. Read at the start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use minijinja::value::Serde;
use minijinja::{Environment, context};
use rust_embed::Embed;
use serde::{Deserialize, Serialize};

use super::letter::Letter;
use super::plan::Kind;
use crate::config::MailConfig;
use crate::languages;

/// The templates' names; they are HTML or not by these.
const PLAIN: &str = "invitation.txt";
const HTML: &str = "invitation.html";

/// The templates, and `words/LANGUAGE.toml`.
#[derive(Embed)]
#[folder = "invitations/"]
struct BuiltIn;

/// What a language says. `{subject}` and the parts of a date are filled in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    subject_new: String,
    subject_update: String,
    subject_cancel: String,
    intro_new: String,
    intro_update: String,
    intro_cancel: String,
    intro_withdraw: String,
    when: String,
    any_time: String,
    dial_in: String,
    extension: String,
    pin: String,
    join: String,
    how: String,
    date: String,
    weekdays: [String; 7],
    months: [String; 12],
}

/// A letter in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Texts {
    /// The subject of the mail.
    pub(super) title: String,
    pub(super) plain: String,
    pub(super) html: String,
}

/// All that letters are made of.
#[derive(Debug)]
pub(super) struct Templates {
    /// By language, in lower case.
    words: BTreeMap<String, Words>,
    environment: Environment<'static>,
    default_language: String,
}

impl Templates {
    /// Ours, with the operator's in their place: `invitation.txt` and `invitation.html`, the same in a directory named by a
    /// language for that language alone, and `words/LANGUAGE.toml`, which needs to have only what is to be different.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub(super) fn open(config: &MailConfig, default_language: &str) -> Result<Self, String> {
        let mut words = BTreeMap::new();
        let mut environment = Environment::new();
        for path in BuiltIn::iter() {
            let text = BuiltIn::get(&path).map(|file| String::from_utf8_lossy(&file.data).into_owned());
            let text = text.expect("BUG: a file that was just listed");
            match path.strip_prefix("words/").and_then(|name| name.strip_suffix(".toml")) {
                Some(language) => {
                    let read = toml::from_str::<Words>(&text).expect("BUG: built-in words are read by a test");
                    words.insert(language.to_owned(), read);
                }
                None => environment
                    .add_template_owned(path.into_owned(), text)
                    .expect("BUG: built-in templates are read by a test"),
            }
        }
        let mut templates = Self { words, environment, default_language: default_language.to_owned() };
        if let Some(dir) = &config.templates {
            templates.replace(dir)?;
        }
        templates.try_out(config)?;
        Ok(templates)
    }

    fn replace(&mut self, dir: &Path) -> Result<(), String> {
        let mut found = 0;
        for (name, path) in listed(dir)? {
            if path.is_dir() {
                for (inner, path) in listed(&path)? {
                    found += usize::from(self.replace_one(&format!("{name}/{inner}"), &path)?);
                }
            } else {
                found += usize::from(self.replace_one(&name, &path)?);
            }
        }
        if found == 0 {
            return Err(format!("{}: there is no {PLAIN}, {HTML} or words/LANGUAGE.toml in it", dir.display()));
        }
        Ok(())
    }

    /// False: it is none of ours.
    fn replace_one(&mut self, name: &str, path: &Path) -> Result<bool, String> {
        let fault = |reason: &dyn std::fmt::Display| format!("{}: {}", path.display(), first_line(reason));
        let read = || std::fs::read_to_string(path).map_err(|error| fault(&error));
        if let Some(language) = name.strip_prefix("words/").and_then(|name| name.strip_suffix(".toml")) {
            let language = language.replace('_', "-").to_lowercase();
            let theirs: toml::Table = read()?.parse().map_err(|error| fault(&error))?;
            // What is not said otherwise is said as the language, or English, says it.
            let ours = self.words_of(&language).clone();
            let mut merged = toml::Table::try_from(ours).expect("BUG: words are a table");
            merged.extend(theirs);
            self.words.insert(language, merged.try_into().map_err(|error| fault(&error))?);
            return Ok(true);
        }
        let (language, template) = name.rsplit_once('/').map_or(("", name), |(language, name)| (language, name));
        if ![PLAIN, HTML].contains(&template) {
            return Ok(false);
        }
        let language = language.replace('_', "-").to_lowercase();
        let name = if language.is_empty() { template.to_owned() } else { format!("{language}/{template}") };
        self.environment.add_template_owned(name, read()?).map_err(|error| fault(&error))?;
        Ok(true)
    }

    /// One of each kind in each language: what fails when it is filled in fails now.
    fn try_out(&self, config: &MailConfig) -> Result<(), String> {
        let fault = |error: String| format!("{}: {error}", config.templates.clone().unwrap_or_default().display());
        for language in self.words.keys() {
            for kind in [Kind::New, Kind::Update, Kind::Cancel, Kind::Withdraw] {
                let time = Timestamp::UNIX_EPOCH;
                let letter = Letter {
                    kind,
                    uid: String::new(),
                    sequence: 0,
                    written_at: time,
                    extension: "900".to_owned(),
                    subject: "subject".to_owned(),
                    pin: Some("13579".to_owned()),
                    start: Some(time),
                    end: None,
                    timezone: None,
                    language: Some(language.clone()),
                    numbers: None,
                    token: String::new(),
                };
                self.texts(&letter, config).map_err(fault)?;
            }
        }
        Ok(())
    }

    /// The letter in its own language, or what is left of it, or the default one, or English.
    ///
    /// # Errors
    /// When a template cannot be filled in.
    pub(super) fn texts(&self, letter: &Letter, config: &MailConfig) -> Result<Texts, String> {
        let language = self.language_of(letter.language.as_deref());
        let words = self.words_of(&language);
        let (title, intro) = match letter.kind {
            Kind::New => (&words.subject_new, &words.intro_new),
            Kind::Update => (&words.subject_update, &words.intro_update),
            Kind::Cancel => (&words.subject_cancel, &words.intro_cancel),
            Kind::Withdraw => (&words.subject_cancel, &words.intro_withdraw),
        };
        let title = title.replace("{subject}", &letter.subject);
        let values = context! {
            title => title.clone(),
            intro => intro.clone(),
            words => Serde(words),
            language => language.clone(),
            subject => letter.subject.clone(),
            when => words.when(letter),
            cancelled => letter.kind.is_cancelling(),
            extension => letter.extension.clone(),
            pin => letter.pin.clone(),
            dial_in => letter.dial_in(config),
            join_url => letter.join_url(config),
        };
        let filled = |name: &str| {
            let own = languages::lookup(&language).map(|tag| format!("{tag}/{name}"));
            let found = own.chain([name.to_owned()]).find_map(|name| self.environment.get_template(&name).ok());
            let template = found.expect("BUG: the templates for all languages are built in");
            template.render(&values).map_err(|error| first_line(&format!("{}: {error}", template.name())))
        };
        Ok(Texts { title, plain: filled(PLAIN)?, html: filled(HTML)? })
    }

    fn language_of(&self, asked: Option<&str>) -> String {
        let wanted = asked.into_iter().chain([self.default_language.as_str()]);
        let mut tags = wanted.flat_map(languages::lookup);
        tags.find(|tag| self.words.contains_key(tag)).unwrap_or_else(|| "en".to_owned())
    }

    fn words_of(&self, language: &str) -> &Words {
        let found = languages::lookup(language).chain(["en".to_owned()]).find_map(|tag| self.words.get(&tag));
        found.expect("BUG: English is built in")
    }
}

impl Words {
    /// When it is, in the room's own zone.
    fn when(&self, letter: &Letter) -> String {
        let Some(start) = letter.start else { return self.any_time.clone() };
        let zone = letter.timezone.as_deref().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
        let start = start.to_zoned_datetime(zone.clone());
        let time = |at: &ZonedDateTime| at.strftime("%H:%M").to_string();
        let from = format!("{}, {}", self.date(&start), time(&start));
        let until = letter.end.map(|end| end.to_zoned_datetime(zone)).map(|end| match end.date() == start.date() {
            true => format!("–{}", time(&end)),
            false => format!(" – {}, {}", self.date(&end), time(&end)),
        });
        let offset = start.strftime("%:z").to_string();
        let place = match letter.timezone.as_deref() {
            Some(name) if start.time_zone().iana_name() == Some(name) => format!("{name}, UTC{offset}"),
            _ => "UTC".to_owned(),
        };
        format!("{from}{} ({place})", until.unwrap_or_default())
    }

    fn date(&self, at: &ZonedDateTime) -> String {
        let name = |names: &[String], at: i8| names.get(usize::try_from(at).unwrap_or(0)).cloned().unwrap_or_default();
        self.date
            .replace("{weekday}", &name(&self.weekdays, at.weekday().to_monday_zero_offset()))
            .replace("{month}", &name(&self.months, at.month() - 1))
            .replace("{day}", &at.day().to_string())
            .replace("{year}", &at.year().to_string())
    }
}

/// Names and paths, sorted.
fn listed(dir: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let fault = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            all.push((name.to_owned(), path));
        }
    }
    all.sort();
    Ok(all)
}

fn first_line(text: &dyn std::fmt::Display) -> String {
    text.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(templates: Option<&Path>) -> MailConfig {
        MailConfig { templates: templates.map(Path::to_owned), ..super::super::letter::tests::config() }
    }

    fn letter(language: &str) -> Letter {
        Letter { language: Some(language.to_owned()), ..super::super::letter::tests::letter() }
    }

    fn texts(dir: Option<&Path>, language: &str) -> Texts {
        Templates::open(&config(dir), "en").unwrap().texts(&letter(language), &config(dir)).unwrap()
    }

    #[test]
    fn every_language_says_when_where_and_how() {
        for (language, title, when) in [
            ("en", "Invitation: Weekly", "Sunday, 21 July 2030, 19:30–20:30 (Europe/Berlin, UTC+02:00)"),
            ("de", "Einladung: Weekly", "Sonntag, 21. Juli 2030, 19:30–20:30 (Europe/Berlin, UTC+02:00)"),
            ("fr", "Invitation : Weekly", "dimanche 21 juillet 2030, 19:30–20:30 (Europe/Berlin, UTC+02:00)"),
            ("es", "Invitación: Weekly", "domingo, 21 de julio de 2030, 19:30–20:30 (Europe/Berlin, UTC+02:00)"),
            ("it", "Invito: Weekly", "domenica 21 luglio 2030, 19:30–20:30 (Europe/Berlin, UTC+02:00)"),
            ("pt-BR", "Convite: Weekly", "domingo, 21 de julho de 2030, 19:30–20:30 (Europe/Berlin, UTC+02:00)"),
            ("ru", "Приглашение: Weekly", "воскресенье, 21 июля 2030 г., 19:30–20:30 (Europe/Berlin, UTC+02:00)"),
            ("ja", "会議のご案内：Weekly", "2030年7月21日（日曜日）, 19:30–20:30 (Europe/Berlin, UTC+02:00)"),
            ("zh-HK", "会议邀请：Weekly", "2030年7月21日 星期日, 19:30–20:30 (Europe/Berlin, UTC+02:00)"),
            ("nl", "Invitation: Weekly", "Sunday, 21 July 2030, 19:30–20:30 (Europe/Berlin, UTC+02:00)"),
        ] {
            let texts = texts(None, language);
            assert_eq!(texts.title, title, "{language}");
            for part in [when, "900", "13579", "+49 30 1234", "https://conf.example.org/join/900"] {
                assert!(texts.plain.contains(part), "{language}: {part} is not in\n{}", texts.plain);
                assert!(
                    texts.html.replace("&#x2f;", "/").contains(part),
                    "{language}: {part} is not in\n{}",
                    texts.html
                );
            }
        }
    }

    #[test]
    fn a_cancelled_meeting_tells_no_pin() {
        let letter = Letter { kind: Kind::Cancel, ..letter("en") };
        let texts = Templates::open(&config(None), "en").unwrap().texts(&letter, &config(None)).unwrap();
        assert_eq!(texts.title, "Cancelled: Weekly");
        for text in [texts.plain, texts.html] {
            assert!(text.contains("does not take place") && !text.contains("13579") && !text.contains("join/900"));
        }
    }

    #[test]
    fn times_without_a_zone_an_end_or_a_start() {
        let words = Templates::open(&config(None), "en").unwrap().words_of("en").clone();
        let when = |change: fn(&mut Letter)| {
            let mut letter = letter("en");
            change(&mut letter);
            words.when(&letter)
        };
        assert_eq!(when(|l| l.timezone = None), "Sunday, 21 July 2030, 17:30–18:30 (UTC)");
        assert_eq!(when(|l| l.timezone = Some("Nowhere/At_All".into())), "Sunday, 21 July 2030, 17:30–18:30 (UTC)");
        assert_eq!(when(|l| l.end = None), "Sunday, 21 July 2030, 19:30 (Europe/Berlin, UTC+02:00)");
        assert_eq!(when(|l| l.start = None), "at any time");
        assert_eq!(
            when(|l| l.timezone = Some("Asia/Tokyo".into())),
            "Monday, 22 July 2030, 02:30–03:30 (Asia/Tokyo, UTC+09:00)"
        );
        assert_eq!(
            when(|l| l.timezone = Some("Asia/Karachi".into())),
            "Sunday, 21 July 2030, 22:30–23:30 (Asia/Karachi, UTC+05:00)"
        );
        assert_eq!(
            when(|l| l.timezone = Some("Asia/Kolkata".into())),
            "Sunday, 21 July 2030, 23:00 – Monday, 22 July 2030, 00:00 (Asia/Kolkata, UTC+05:30)"
        );
    }

    #[test]
    fn html_shows_what_people_wrote_as_text() {
        let letter = Letter { subject: "<b>R&D</b>".into(), ..letter("en") };
        let texts = Templates::open(&config(None), "en").unwrap().texts(&letter, &config(None)).unwrap();
        assert!(texts.html.contains("&lt;b&gt;R&amp;D&lt;") && !texts.html.contains("<b>"), "{}", texts.html);
        assert!(texts.plain.contains("<b>R&D</b>"));
    }

    #[test]
    fn an_operators_files_take_the_place_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("invitation.txt", "all: {{ subject }}");
        put("de/invitation.txt", "deutsch: {{ subject }} {{ words.when }}");
        put("words/de.toml", "subject_new = \"Termin: {subject}\"\n");
        put("words/nl.toml", "intro_new = \"Welkom\"\n");
        put("notes.txt", "{% not ours");
        let dir = Some(dir.path());
        assert_eq!(texts(dir, "en").plain, "all: Weekly");
        assert_eq!(texts(dir, "de-AT").plain, "deutsch: Weekly Wann");
        assert_eq!(texts(dir, "de").title, "Termin: Weekly");
        assert!(texts(dir, "de").html.contains("Sonntag"));
        assert!(texts(dir, "nl").html.contains("Welkom"));
    }

    #[test]
    fn a_bad_file_is_named_at_the_start() {
        for (name, text, fault) in [
            ("invitation.txt", "{% if %}", "syntax error"),
            ("de/invitation.html", "{{ subject | nothing }}", "nothing"),
            ("words/de.toml", "subject_now = \"x\"", "subject_now"),
            ("words/de.toml", "subject_new = ", "words/de.toml"),
            ("words/de.toml", "weekdays = [\"Montag\"]", "words/de.toml"),
            ("other.txt", "", "there is no invitation.txt"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            let error = Templates::open(&config(Some(dir.path())), "en").unwrap_err();
            assert!(error.starts_with(&dir.path().display().to_string()), "{name}: {error}");
            assert!(error.contains(fault) && error.lines().count() == 1, "{name}: {error}");
        }
    }
}
