//! What was taken for what.

use maud::{Markup, html};

use super::bars::{Bar, bars};
use crate::metrics::ConfusionMatrix;

/// From this share on, the shade of a cell is so strong that its number must be light.
const STRONG: f64 = 0.55;

/// The counts of `confusion`, a row per true class, each cell shaded by its share of the row.
pub(super) fn confusion_table(labels: &[String], confusion: &ConfusionMatrix) -> Markup {
    html! {
        div .scroll tabindex="0" {
            table .confusion {
                caption { "Rows are what the clips show, columns what the model says. Shades are shares of a row." }
                thead {
                    tr {
                        td {}
                        @for label in labels { th scope="col" { span { (label) } } }
                    }
                }
                tbody {
                    @for (truth, label) in labels.iter().enumerate() {
                        tr {
                            th scope="row" { (label) }
                            @for (prediction, &count) in confusion.row(truth).iter().enumerate() {
                                (cell(count, confusion.row(truth).iter().sum(), truth == prediction))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(count: usize, total: usize, right: bool) -> Markup {
    if count == 0 {
        return html! { td .zero { "·" } };
    }
    let share = count as f64 / total as f64;
    let kind = if right { "right" } else { "wrong" };
    let strong = if share >= STRONG { " strong" } else { "" };
    html! { td class={ (kind) (strong) } style={ "--share:" (format!("{share:.3}")) } { (count) } }
}

/// The part of each class that was recognised, as bars.
pub(super) fn recall_bars(labels: &[String], confusion: &ConfusionMatrix) -> Markup {
    let bar = |(class, name)| Bar { name, part: confusion.recall(class), spread: None };
    let recall: Vec<Bar<'_>> = labels.iter().map(String::as_str).enumerate().map(bar).collect();
    bars("Recall: the part of the clips of a class that was recognised", &recall)
}

/// Two classes that were mixed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) truth: usize,
    pub(super) prediction: usize,
    pub(super) clips: usize,
}

/// The mistake that was made most often, the first of several; `None` without any.
pub(super) fn most_frequent_mistake(confusion: &ConfusionMatrix) -> Option<Mistake> {
    let mut most: Option<Mistake> = None;
    for truth in 0..confusion.classes() {
        for (prediction, &clips) in confusion.row(truth).iter().enumerate() {
            if truth != prediction && clips > most.map_or(0, |most| most.clips) {
                most = Some(Mistake { truth, prediction, clips });
            }
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confusion(entries: &[(usize, usize)]) -> ConfusionMatrix {
        let mut confusion = ConfusionMatrix::new(2);
        for &(truth, prediction) in entries {
            confusion.add(truth, prediction);
        }
        confusion
    }

    #[test]
    fn cells_are_shaded_by_their_share() {
        let labels = ["a<b".to_owned(), "lie".to_owned()];
        let table = confusion_table(&labels, &confusion(&[(0, 0), (0, 0), (0, 0), (0, 1)])).into_string();
        for part in [
            "<td class=\"right strong\" style=\"--share:0.750\">3</td>",
            "<td class=\"wrong\" style=\"--share:0.250\">1</td>",
            "<th scope=\"row\">a&lt;b</th>",
        ] {
            assert!(table.contains(part), "`{part}` in {table}");
        }
        assert_eq!(table.matches("class=\"zero\"").count(), 2, "{table}");
        let bars = recall_bars(&labels, &confusion(&[(0, 0), (0, 1)])).into_string();
        assert!(bars.contains("width:50.0%") && bars.contains("no clips") && !bars.contains("a<b"), "{bars}");
    }

    #[test]
    fn the_most_frequent_mistake_is_named() {
        let of = |entries: &[(usize, usize)]| most_frequent_mistake(&confusion(entries));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(0, 0), (1, 1)]), None);
        let most = Mistake { truth: 1, prediction: 0, clips: 2 };
        assert_eq!(of(&[(0, 0), (1, 0), (1, 0), (0, 1)]), Some(most));
    }
}
