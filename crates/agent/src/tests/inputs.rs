//! Inputs that come from a prefix: one slot an object, one cap for all.

use alloy_primitives::hex;
use pouw_data::{InputSlot, Packing, PresignedUrl};
use pouw_types::RentalId;

use super::world::{World, task};
use crate::door::TaskRequest;
use crate::step::End;

/// Hands over a task whose input is a prefix with these objects, at most 10 bytes together.
async fn handed(objects: &[(&str, &str)]) -> (World, RentalId) {
    let world = World::new().await;
    let task = task(
        "inputs:\n  - from: s3://assets/scene/\n    to: scene\n    max_size: 10B\n\
         limits:\n  time: 1h\n",
    );
    let id = world.open(&task, None, |_| ());
    let mut slots = world.slots(&task);
    slots.inputs.clear();
    for (name, content) in objects {
        let address = format!("http://store/{name}?sig=s3cret");
        world.store.0.lock().unwrap().insert(address.clone(), content.as_bytes().to_vec());
        slots.inputs.push(InputSlot {
            name: (*name).to_owned(),
            url: PresignedUrl::parse(&address).unwrap(),
            packing: Packing::File,
            size_bytes: None,
            blake3: None,
        });
    }
    world.wait("the agent sees the opening", || !world.agent().rentals().is_empty()).await;
    let request =
        TaskRequest { task, slots, secrets: std::collections::BTreeMap::new(), resume: None };
    world.agent().hand_over(id, &request).unwrap();
    (world, id)
}

#[tokio::test]
async fn each_object_of_a_prefix_is_a_file_of_the_task() {
    let objects = [("scene/a.txt", "one"), ("scene/tex/b.png", "two"), ("scenery", "other")];
    let (world, id) = handed(&objects).await;
    world.running(id).await;
    let stem = hex::encode(&id.get()[..8]);
    let folder = world.folder.path().join("scratch").join(stem).join("inputs/0000");
    assert_eq!(std::fs::read(folder.join("a.txt")).unwrap(), b"one");
    assert_eq!(std::fs::read(folder.join("tex/b.png")).unwrap(), b"two");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "scenery is not below scene/");
    world.finish(0, false);
    world.done(id).await;
    assert_eq!(world.status(id).end, Some(End::Completed));
    let store = world.store.0.lock().unwrap();
    let text = |name: &str| {
        let (_, bytes) = store.iter().find(|(address, _)| address.contains(name)).unwrap();
        String::from_utf8(bytes.clone()).unwrap()
    };
    let list = text("inputs.json");
    for (name, content) in [("scene/a.txt", "one"), ("scene/tex/b.png", "two")] {
        let digest = blake3::hash(content.as_bytes()).to_hex();
        assert!(list.contains(name) && list.contains(digest.as_str()), "{name} in {list}");
    }
    let manifest = text("manifest.json");
    let digest = blake3::hash(list.as_bytes()).to_hex();
    assert!(manifest.contains(digest.as_str()), "the manifest covers the list: {manifest}");
}

#[tokio::test]
async fn objects_that_are_too_large_together_end_unbilled() {
    let (world, id) = handed(&[("scene/a", "123456"), ("scene/b", "123456")]).await;
    assert!(world.done(id).await.is_zero());
    let Some(End::NotPrepared { detail }) = world.status(id).end else { panic!() };
    assert!(detail.contains("too large"), "{detail}");
}

#[tokio::test]
async fn a_prefix_without_a_slot_below_it_ends_unbilled_and_names_the_input() {
    let (world, id) = handed(&[("scenery", "other")]).await;
    assert!(world.done(id).await.is_zero());
    let Some(End::NotPrepared { detail }) = world.status(id).end else { panic!() };
    assert!(detail.contains("input scene has no slot"), "{detail}");
}
