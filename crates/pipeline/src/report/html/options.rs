//! The recipe of a run.

use std::collections::BTreeMap;

use maud::{Markup, html};
use toml::{Table, Value};

use super::page::table;
use crate::recipe::RecipeError;

/// The options of the recipe `run` that differ from those of `usual`, and all of them to unfold; both are TOML.
pub(super) fn options(run: &str, usual: &str, usual_name: &str) -> Result<Markup, RecipeError> {
    let (of_run, of_usual) = (flatten(run)?, flatten(usual)?);
    let names: BTreeMap<&String, ()> = of_run.keys().chain(of_usual.keys()).map(|name| (name, ())).collect();
    let value = |options: &BTreeMap<String, String>, name| options.get(name).map_or("–".to_owned(), String::clone);
    let rows: Vec<(String, Vec<String>)> = names
        .into_keys()
        .filter(|name| of_run.get(*name) != of_usual.get(*name))
        .map(|name| (name.clone(), vec![value(&of_run, name), value(&of_usual, name)]))
        .collect();
    Ok(html! {
        @if rows.is_empty() {
            p { "Every option has the value of " (usual_name) "." }
        } @else {
            (table(&format!("Options that differ from {usual_name}"), &["option", "this run", usual_name], &rows))
        }
        details {
            summary { "The whole recipe" }
            pre { (run) }
        }
    })
}

/// The values of all options by their names, with the names of the tables that they stand in.
fn flatten(toml: &str) -> Result<BTreeMap<String, String>, RecipeError> {
    fn add(table: &Table, prefix: &str, options: &mut BTreeMap<String, String>) {
        for (name, value) in table {
            let name = format!("{prefix}{name}");
            match value {
                Value::Table(table) => add(table, &format!("{name}."), options),
                value => {
                    options.insert(name, value.to_string());
                }
            }
        }
    }
    let mut options = BTreeMap::new();
    add(&toml.parse::<Table>()?, "", &mut options);
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_in_the_table() {
        let run = "seed = 2\n[training]\nepochs = 25\nbatch = 3\n";
        let text = options(run, "seed = 1\n[training]\nepochs = 25\nrate = 0.1\n", "the defaults").unwrap();
        let (rows, recipe) = text.0.split_once("<details>").unwrap();
        for part in ["seed", "training.batch", "training.rate", "<td>–</td>"] {
            assert!(rows.contains(part), "`{part}` in {rows}");
        }
        assert!(!rows.contains("epochs"), "{rows}");
        assert!(recipe.contains("epochs = 25"), "{recipe}");
        let same = options(run, run, "the defaults").unwrap().0;
        assert!(same.contains("Every option has the value of the defaults."), "{same}");
        let error = options("seed", run, "the defaults").unwrap_err();
        assert!(matches!(error, RecipeError::Syntax(_)), "{error}");
    }

    #[test]
    fn what_a_recipe_says_is_escaped() {
        let text = options("name = \"<script>\"", "", "the defaults").unwrap().0;
        assert!(!text.contains("<script>") && text.contains("&lt;script&gt;"), "{text}");
    }
}
