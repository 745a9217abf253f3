//! The frame of a page, and the blocks it is made of.

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::run::RunDirectory;
use crate::units::TimeSpan;

const STYLE: &str = include_str!("style.css");
/// Nothing may be loaded, whatever the page holds.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// A part of a page.
pub(super) struct Section {
    /// What links to it say, a word that needs no escape.
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) body: Markup,
}

impl Section {
    pub(super) fn new(id: &'static str, title: impl Into<String>, body: Markup) -> Self {
        Self { id, title: title.into(), body }
    }
}

/// The whole page: its title, one sentence below it, and its sections.
pub(super) fn page(title: &str, lead: &Markup, sections: &[Section]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p .lead { (lead) }
                    nav {
                        @for section in sections {
                            a href={ "#" (section.id) } { (section.title) }
                        }
                    }
                }
                main {
                    @for section in sections {
                        section id=(section.id) {
                            h2 { (section.title) }
                            (section.body)
                        }
                    }
                }
                footer {
                    p { "Made by vidrnn " (env!("CARGO_PKG_VERSION")) " from the files of the run." }
                }
            }
        }
    };
    page.into_string()
}

/// Figures with their names, large enough to be seen first.
pub(super) fn facts(facts: &[(&str, String)]) -> Markup {
    html! {
        dl .facts {
            @for (name, figure) in facts {
                div { dt { (name) } dd { (figure) } }
            }
        }
    }
}

/// A table whose first column names the rows; what is too wide can be scrolled.
pub(super) fn table(caption: &str, columns: &[&str], rows: &[(String, Vec<String>)]) -> Markup {
    html! {
        div .scroll tabindex="0" {
            table {
                caption { (caption) }
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody {
                    @for (name, figures) in rows {
                        tr {
                            th scope="row" { (name) }
                            @for figure in figures { td { (figure) } }
                        }
                    }
                }
            }
        }
    }
}

/// What the run is called: the name of its directory.
pub(super) fn run_name(directory: &RunDirectory) -> String {
    let path = directory.path();
    // A path such as `.` has a name only when it is complete.
    let complete = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    complete.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// A number of seconds as people read it; a dash for what is no span of time.
pub(super) fn seconds(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map_or("–".to_owned(), |span| TimeSpan(span).to_string())
}

/// A part of a whole in percent, a dash for what is no number.
pub(super) fn percent(part: f64) -> String {
    if part.is_finite() { format!("{:.1} %", part * 100.0) } else { "–".to_owned() }
}
