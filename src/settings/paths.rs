//! Names of files in the configuration: where they are relative, they are relative to the folder of the configuration file.
//! Must not know which keys there are: whatever stands at a key that ends in `_file` or `_files` names files. Opens none.

use std::path::Path;

use figment::value::{Dict, Value};

use super::list;

/// Makes every name of a file in `table` absolute. `folder` is an absolute path.
pub(crate) fn make_absolute(table: &mut Dict, folder: &Path) {
    for (key, value) in table.iter_mut() {
        match value {
            Value::String(_, text) if key.ends_with("_file") => *text = absolute(text, folder),
            // As the environment writes a list.
            Value::String(_, text) if key.ends_with("_files") => {
                if let Some(elements) = list::elements(text) {
                    *value = Value::from(elements);
                    make_elements_absolute(value, folder);
                }
            }
            _ if key.ends_with("_files") => make_elements_absolute(value, folder),
            Value::Dict(_, inner) => make_absolute(inner, folder),
            _ => {}
        }
    }
}

/// The elements of a list, or of a table whose keys are not ours.
fn make_elements_absolute(value: &mut Value, folder: &Path) {
    let elements: Vec<&mut Value> = match value {
        Value::Array(_, elements) => elements.iter_mut().collect(),
        Value::Dict(_, table) => table.values_mut().collect(),
        _ => Vec::new(),
    };
    for element in elements {
        if let Value::String(_, text) = element {
            *text = absolute(text, folder);
        }
    }
}

/// One name of a file, absolute. An empty one stays empty, so that whoever reads it finds that it names nothing.
pub(crate) fn absolute(name: &str, folder: &Path) -> String {
    match folder.join(name).to_str() {
        Some(path) if !name.is_empty() => path.to_owned(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use figment::providers::{Format, Toml};

    use super::*;

    #[test]
    fn makes_names_of_files_absolute_and_nothing_else() {
        let text = "name = 'a'\nkey_file = 'k'\nabsolute_file = '/k'\nempty_file = ''\nnumber_file = 3\n\
                    key_files = ['../a', '/b']\nlisted_files = 'a, /b'\nbroken_files = '[a'\n\
                    [inner]\ncert_file = 'c'\npath = 'd'\n[property_files]\n'sasl.password' = 'p'\nn = 1";
        let expected = "name = 'a'\nkey_file = '/etc/p/k'\nabsolute_file = '/k'\nempty_file = ''\nnumber_file = 3\n\
                        key_files = ['/etc/p/../a', '/b']\nlisted_files = ['/etc/p/a', '/b']\nbroken_files = '[a'\n\
                        [inner]\ncert_file = '/etc/p/c'\npath = 'd'\n[property_files]\n'sasl.password' = '/etc/p/p'\nn = 1";
        let mut table: Dict = Toml::from_str(text).unwrap();
        make_absolute(&mut table, Path::new("/etc/p"));
        assert_eq!(table, Toml::from_str::<Dict>(expected).unwrap());
    }
}
