//! What a task may say and nothing carries out yet: told before money moves, never passed over.

use pouw_spec::Task;

use crate::exit::WrongInput;

/// Checks that all that a task asks for is done.
///
/// # Errors
/// [`WrongInput`] with every field that would have no effect.
pub fn check(task: &Task) -> Result<(), WrongInput> {
    let mut idle = Vec::new();
    if task.checkpoint.is_some() {
        idle.push("checkpoint: no host saves checkpoints yet, so nothing could go on from one");
    }
    if task.outputs.iter().any(|output| output.to.is_some()) {
        idle.push("outputs.to: outputs go to the profile's own storage");
    }
    if task.parts.as_ref().is_some_and(|parts| parts.to.is_some()) {
        idle.push("parts.to: parts go to the profile's own storage");
    }
    if idle.is_empty() {
        return Ok(());
    }
    Err(WrongInput(format!("this can't be done yet, leave it out:\n  {}", idle.join("\n  "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(extra: &str) -> String {
        let text = format!("version: 1\nname: a\nimage: hello\nlimits: {{time: 1h}}\n{extra}");
        let valid = Task::from_yaml("task.yaml", &text).expect("a valid task");
        check(&valid.task).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn what_would_have_no_effect_is_refused_by_its_field() {
        assert_eq!(said("parts: {path: \"{part}.png\", count: 2}\noutputs: [{path: log}]\n"), "");
        let all = said(
            "checkpoint: {path: saved}\n\
             parts: {path: \"{part}.png\", count: 2, to: s3://films/new/}\n\
             outputs: [{path: log, to: s3://films/log}]\n",
        );
        for field in ["checkpoint:", "parts.to:", "outputs.to:"] {
            assert!(all.contains(field), "{field} in {all}");
        }
    }
}
