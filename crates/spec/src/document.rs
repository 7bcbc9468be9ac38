//! A specification as typed.

use std::collections::BTreeMap;

use crate::problem::{Problem, Problems};
use crate::read;
use crate::task::Task;
use crate::tree::{self, Node};
use crate::walk::locate;

/// A specification as typed: every value with its place in the file.
#[derive(Clone, Debug)]
pub struct TaskDocument {
    file: String,
    text: String,
    root: Node,
}

/// A specification that keeps every rule, with what belongs to the client's computer alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidTask {
    /// What client and host agree on.
    pub task: Task,
    /// The file of each secret on the client's computer, relative to the folder of the
    /// specification. Neither path nor contents are a part of the task.
    pub secret_files: BTreeMap<String, String>,
}

impl TaskDocument {
    /// Reads YAML; JSON is YAML too. The file's name is for messages only.
    ///
    /// # Errors
    /// [`Problems`] with the one place where reading ended: no YAML, or beyond the budgets of size
    /// (1 MiB), depth, values and aliases.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        match tree::parse(text) {
            Ok(root) => Ok(Self { file: file.to_owned(), text: text.to_owned(), root }),
            Err(error) => {
                let problem = Problem::new(error.place, "", error.reason);
                Err(Problems::new(file, text, vec![problem]))
            }
        }
    }

    /// Checks every field and every rule between fields.
    ///
    /// # Errors
    /// [`Problems`] with all that is wrong. Rules between fields are checked once each field by
    /// itself is right.
    pub fn validate(&self) -> Result<ValidTask, Problems> {
        let failed = |problems| Problems::new(&self.file, &self.text, problems);
        let (task, secret_files) = read::task(&self.root).map_err(failed)?;
        match task.check() {
            Ok(()) => Ok(ValidTask { task, secret_files }),
            Err(violations) => {
                let problems = violations.iter().map(|violation| {
                    let (node, exact) = locate(&self.root, &violation.field);
                    let problem = Problem::new(node.place, &violation.field, &violation.reason);
                    match &node.kind {
                        // What is wrong there is the name; the value may be private.
                        tree::Kind::Scalar { .. } if violation.field.starts_with("env.") => problem,
                        tree::Kind::Scalar { text, .. } if exact => problem.with_value(text),
                        tree::Kind::Scalar { .. }
                        | tree::Kind::Sequence(_)
                        | tree::Kind::Mapping(_) => problem,
                    }
                });
                Err(failed(problems.collect()))
            }
        }
    }
}

impl Task {
    /// Reads and validates a `task.yaml`.
    ///
    /// # Errors
    /// [`Problems`], as [`TaskDocument::parse`] and [`TaskDocument::validate`] find them.
    pub fn from_yaml(file: &str, text: &str) -> Result<ValidTask, Problems> {
        TaskDocument::parse(file, text)?.validate()
    }
}
