//! The examples of the repository are valid, and their hashes are pinned.

use pouw_spec::Task;

fn example(name: &str) -> pouw_spec::ValidTask {
    let path = format!("{}/../../examples/{name}/task.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the example is there");
    Task::from_yaml(&path, &text).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn hello_makes_three_parts() {
    let task = example("hello").task;
    let files: Vec<String> = task.parts.as_ref().expect("it has parts").files().collect();
    assert_eq!(files, ["out/01.txt", "out/02.txt", "out/03.txt"]);
    assert_eq!(task.image.name(), "hello");
}

#[test]
fn render_makes_twelve_frames_and_a_film() {
    let task = example("render").task;
    let parts = task.parts.as_ref().expect("it has parts");
    assert_eq!((parts.count, parts.file(11).expect("twelve")), (12, "frames/0012.png".to_owned()));
    assert_eq!(task.outputs[0].path.as_str(), "film.mp4");
    assert_eq!(task.inputs[0].to.as_str(), "scene.py");
    assert_eq!(task.refund_window_s, None);
}
