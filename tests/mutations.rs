//! The list of faults that `tests/mutations/run.py` puts into the engine, held against the source.

use std::path::Path;

use serde::Deserialize;

#[derive(Deserialize)]
struct List {
    mutation: Vec<Mutation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    name: String,
    file: String,
    find: String,
    replace: String,
}

#[test]
fn each_listed_fault_applies_at_exactly_one_place_of_the_engine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("tests/mutations/mutations.toml")).unwrap();
    let list: List = toml::from_str(&text).unwrap();
    assert!(list.mutation.len() >= 12, "only {} faults are listed", list.mutation.len());
    let mut stale = Vec::new();
    for Mutation { name, file, find, replace } in &list.mutation {
        let source = std::fs::read_to_string(root.join("src").join(file)).unwrap_or_default();
        let places = source.matches(find.as_str()).count();
        if places != 1 || find == replace {
            stale.push(format!("{name}: {places} places in src/{file}"));
        }
    }
    assert!(stale.is_empty(), "faults that do not apply any more:\n{}", stale.join("\n"));
}
