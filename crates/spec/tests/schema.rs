//! The JSON Schema in `docs/schema` is the one that the code describes.

use pouw_spec::schema::task_schema_text;

/// With `UPDATE=1` in the environment the file is written instead.
#[test]
fn the_schema_file_is_up_to_date() {
    let path = format!("{}/../../docs/schema/task.schema.json", env!("CARGO_MANIFEST_DIR"));
    let expected = task_schema_text();
    if std::env::var_os("UPDATE").is_some() {
        let folder = std::path::Path::new(&path).parent().expect("it has one");
        std::fs::create_dir_all(folder).expect("the folder can be made");
        std::fs::write(&path, &expected).expect("the file can be written");
    }
    let found = std::fs::read_to_string(&path).expect("docs/schema/task.schema.json is there");
    assert!(found == expected, "{path} is old: run UPDATE=1 cargo test -p pouw-spec --test schema");
}
