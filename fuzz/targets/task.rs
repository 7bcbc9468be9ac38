//! `task.yaml` as a person types it, and a task as a host receives it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pouw_spec::Task;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        match Task::from_yaml("task.yaml", text) {
            Ok(valid) => again(&valid.task),
            Err(problems) => assert!(!problems.to_string().is_empty()),
        }
    }
    if let Ok(task) = Task::from_json(bytes) {
        again(&task);
    }
});

/// A host reads from the canonical form the task that the client hashed.
fn again(task: &Task) {
    let canonical = task.canonical();
    let read = Task::from_json(&canonical).expect("a valid task is read again");
    assert_eq!(read.canonical(), canonical);
    assert_eq!(read.hash(), task.hash());
}
