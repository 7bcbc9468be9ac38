//! What a task may say and nothing carries out yet: told before money moves, never passed over.

use pouw_spec::{Location, Task};

use crate::exit::WrongInput;

/// Checks that all that a task asks for is done.
///
/// # Errors
/// [`WrongInput`] with every field that would have no effect.
pub fn check(task: &Task) -> Result<(), WrongInput> {
    let mut idle = Vec::new();
    let local = |to: Option<&Location>| matches!(to, Some(Location::File(_)));
    if task.outputs.iter().any(|output| local(output.to.as_ref())) {
        idle.push("outputs.to: a path of this computer; `pouw run --output` fetches results");
    }
    if local(task.parts.as_ref().and_then(|parts| parts.to.as_ref())) {
        idle.push("parts.to: a path of this computer; `pouw run --output` fetches results");
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
        let sent = "parts: {path: \"{part}.png\", count: 2, to: s3://films/new/}\n\
                    outputs: [{path: log, to: s3://films/log}]\n";
        assert_eq!(said(sent), "");
        let all = said(&sent.replace("s3://films/", "there/"));
        for field in ["parts.to:", "outputs.to:"] {
            assert!(all.contains(field), "{field} in {all}");
        }
    }
}
