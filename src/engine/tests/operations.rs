//! What each operation promises, without crashes in the middle.

use super::*;

fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<Simulation>) -> F) {
    let simulation = Rc::new(Simulation::new(1));
    let simulation_ = simulation.clone();
    simulation.block_on(test(simulation_));
}

async fn bucket(node: &Node, name: &str) -> BucketId {
    node.core(1).create_bucket(name, Versioning::Unversioned, BTreeMap::new()).await.unwrap().id
}

#[test]
fn objects_of_every_size_come_back_from_every_core_and_after_a_restart() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 2).await.unwrap();
        let id = bucket(&node, "b").await;
        let sizes = [0, 1, 4096, 65536, 65537, 262_144, 262_145, 1_000_000, 3_000_000];
        for (number, size) in sizes.into_iter().enumerate() {
            let key = format!("key-{size}");
            put(node.core(number), id, key.as_bytes(), &content(size as u64, size)).await.unwrap();
        }
        for round in 0..2 {
            let node = if round == 0 {
                node.engines.clone()
            } else {
                node.shutdown().await;
                Node::start(&simulation, 3, 2).await.unwrap().engines
            };
            for size in sizes {
                for engine in &node {
                    let found = get(engine, id, format!("key-{size}").as_bytes()).await.unwrap();
                    assert_eq!(found, Some(content(size as u64, size)), "{size} in round {round}");
                }
            }
        }
    });
}

#[test]
fn ranges_read_what_they_name() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let id = bucket(&node, "b").await;
        for size in [10_000, 700_001] {
            let bytes = content(3, size);
            put(node.core(0), id, b"k", &bytes).await.unwrap();
            let object = node.core(1).get(id, b"k", None).await.unwrap().found().unwrap();
            for (start, end) in [(0, 0), (0, 1), (9_999, 10_000), (4095, 4097), (1, size - 1), (0, size)] {
                let found = read(&object, start as u64..end as u64).await.unwrap();
                assert_eq!(found, bytes[start..end], "{start}..{end} of {size}");
            }
        }
    });
}

#[test]
fn of_a_hundred_conditional_creations_one_wins() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 4, 1).await.unwrap();
        let id = bucket(&node, "b").await;
        let mut under_way = Vec::new();
        for number in 0..100 {
            let (done, result) = crate::base::local::oneshot();
            let engine = node.core(number).clone();
            engine.host().clone().spawn(async move {
                let payload = payload(&engine, &content(number as u64, 100)).await.unwrap();
                let condition = Condition { absent: true, ..Condition::default() };
                done.send(engine.put(id, b"k", payload, attributes(b""), condition).await);
            });
            under_way.push(result);
        }
        let mut winners = 0;
        for result in under_way {
            match result.await.unwrap() {
                Ok(_) => winners += 1,
                Err(error) => assert_eq!(error, EngineError::ConditionFailed),
            }
        }
        assert_eq!(winners, 1);
        assert_eq!(node.core(0).usage(id).await.unwrap(), Usage { objects: 1, versions: 0, bytes: 100 });
    });
}

#[test]
fn a_copy_outlives_its_source_and_space_is_freed_with_the_last_of_them() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node, "b").await;
        let bytes = content(5, 2_000_000);
        put(node.core(0), id, b"source", &bytes).await.unwrap();
        let source = node.core(1).get(id, b"source", None).await.unwrap().found().unwrap();
        let shared = source.share(1000..1_500_000).await.unwrap();
        let part = &bytes[1000..1_500_000];
        node.core(2).put(id, b"copy", shared, attributes(part), Condition::default()).await.unwrap();
        drop(source);
        assert!(node.core(0).delete(id, b"source", Deletion::default()).await.unwrap().existed);
        let copy = get(node.core(1), id, b"copy").await.unwrap();
        assert_eq!(copy.as_deref(), Some(part));
        let before = allocated(&simulation);
        assert!(node.core(2).delete(id, b"copy", Deletion::default()).await.unwrap().existed);
        node.core(0).host().sleep(std::time::Duration::from_secs(1)).await;
        assert!(before - allocated(&simulation) >= 2_000_000, "the extent is freed");
    });
}

fn allocated(simulation: &Simulation) -> u64 {
    let files = simulation.disk(0).list().unwrap();
    files.iter().filter(|file| file.name.starts_with("data-")).map(|file| file.bytes_allocated).sum()
}

#[test]
fn a_reader_keeps_what_is_deleted_under_it() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let id = bucket(&node, "b").await;
        let bytes = content(6, 1_000_000);
        put(node.core(0), id, b"k", &bytes).await.unwrap();
        let object = node.core(1).get(id, b"k", None).await.unwrap().found().unwrap();
        node.core(0).delete(id, b"k", Deletion::default()).await.unwrap();
        node.core(0).host().sleep(std::time::Duration::from_secs(5)).await;
        assert_eq!(read(&object, 0..1_000_000).await.unwrap(), bytes);
    });
}

#[test]
fn downloads_that_begin_together_do_not_wait_for_each_others_buffers() {
    // More of them than there are buffers, each with a second run that can be read before the first: the
    // checksums of that one are to be read yet. What was read ahead took all buffers, and nothing could be sent.
    run(|simulation| async move {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let id = bucket(&node, "b").await;
        for number in 0..40u64 {
            put(node.core(0), id, &number.to_le_bytes(), &content(number, 300_000)).await.unwrap();
        }
        node.shutdown().await;
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let engine = node.core(0);
        let buffers = engine.host().pool().large_available();
        assert!(buffers < 40, "{buffers} buffers are enough");
        let mut objects = Vec::new();
        for number in 0..40u64 {
            objects.push(engine.get(id, &number.to_le_bytes(), None).await.unwrap().found().unwrap());
        }
        let mut under_way = Vec::new();
        for (number, object) in (0..).zip(objects) {
            let (done, ended) = crate::base::local::oneshot();
            engine.host().spawn(async move { done.send(read(&object, 0..300_000).await) });
            under_way.push((number, ended));
        }
        for (number, ended) in under_way {
            let minute = engine.host().sleep(std::time::Duration::from_secs(60));
            let ended = crate::base::local::within(ended, minute).await.expect("it comes to an end");
            assert!(ended.unwrap().unwrap() == content(number, 300_000), "object {number}");
        }
        assert_eq!(engine.host().pool().large_available(), buffers);
    });
}

#[test]
fn what_is_written_again_has_the_time_of_that() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let id = bucket(&node, "b").await;
        let (engine, mut last) = (node.core(0), 0);
        for number in 0..3 {
            engine.host().sleep(std::time::Duration::from_secs(3)).await;
            let before = engine.host().now();
            put(engine, id, b"k", &content(number, 10)).await.unwrap();
            let object = engine.get(id, b"k", None).await.unwrap().found().unwrap();
            let modified = object.modified();
            assert!((before..=engine.host().now()).contains(&modified) && modified > last, "{modified}");
            last = modified;
        }
    });
}

#[test]
fn an_abandoned_upload_leaves_nothing_behind() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        bucket(&node, "b").await;
        let mut writer = node.core(0).payload_writer(Some(1_000_000)).await.unwrap();
        let mut buffer = writer.buffer().await;
        buffer.set_len(BUFFER_BYTES);
        writer.write(buffer).await.unwrap();
        drop(writer);
        drop(payload(node.core(0), &content(1, 500_000)).await.unwrap());
        node.core(0).host().sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(node.core(0).inner.extents.count(), 0);
    });
}

#[test]
fn payload_of_unknown_length_is_kept_whole() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let id = bucket(&node, "b").await;
        let bytes = content(8, 3_333_333);
        let mut writer = node.core(0).payload_writer(None).await.unwrap();
        for run in bytes.chunks(BUFFER_BYTES) {
            let mut buffer = writer.buffer().await;
            buffer.append(run);
            writer.write(buffer).await.unwrap();
        }
        let payload = writer.finish().await.unwrap();
        node.core(0).put(id, b"k", payload, attributes(&bytes), Condition::default()).await.unwrap();
        assert_eq!(get(node.core(0), id, b"k").await.unwrap(), Some(bytes));
    });
}

#[test]
fn a_multipart_object_is_its_named_parts_and_completing_again_succeeds() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node, "b").await;
        let upload = node.core(0).create_upload(id, b"k", vec![]).await.unwrap().id;
        let parts: Vec<Vec<u8>> = (0..4).map(|n| content(n, 300_000 + n as usize)).collect();
        let mut named = Vec::new();
        for (index, bytes) in parts.iter().enumerate() {
            let engine = node.core(index);
            let body = payload(engine, bytes).await.unwrap();
            let etag = attributes(bytes).etag;
            let number = index as u16 + 1;
            engine.put_part(id, b"k", upload, number, body, etag, None).await.unwrap();
            if number != 2 {
                named.push((number, etag));
            }
        }
        let (_, listed) = node.core(1).upload(id, b"k", upload, 1, 2).await.unwrap();
        assert_eq!(listed.iter().map(|part| part.number).collect::<Vec<_>>(), [2, 3]);
        let whole = [&parts[0][..], &parts[2], &parts[3]].concat();
        let completion = Completion {
            parts: named.clone(),
            attributes: attributes(&whole),
            condition: Condition::default(),
            events: Vec::new(),
        };
        let wrong = Completion { parts: vec![(1, ETag::of_md5([9; 16]))], ..completion.clone() };
        let refused = node.core(2).complete_upload(id, b"k", upload, wrong).await;
        assert_eq!(refused, Err(EngineError::InvalidPart));
        let first = node.core(2).complete_upload(id, b"k", upload, completion.clone()).await.unwrap();
        let again = node.core(1).complete_upload(id, b"k", upload, completion.clone()).await.unwrap();
        assert_eq!(first, again);
        assert_eq!(get(node.core(0), id, b"k").await.unwrap(), Some(whole));
        node.core(0).delete(id, b"k", Deletion::default()).await.unwrap();
        let gone = node.core(0).complete_upload(id, b"k", upload, completion).await;
        assert_eq!(gone, Err(EngineError::NoSuchUpload));
        node.core(0).host().sleep(std::time::Duration::from_secs(1)).await;
        assert!(node.engines.iter().all(|engine| engine.inner.extents.count() == 0));
    });
}

#[test]
fn a_bucket_with_objects_stays_and_an_empty_one_goes_with_its_uploads() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node, "b").await;
        put(node.core(0), id, b"k", b"v").await.unwrap();
        assert_eq!(node.core(2).delete_bucket("b").await, Err(EngineError::BucketNotEmpty));
        put(node.core(0), id, b"k", b"v2").await.unwrap();
        node.core(1).delete(id, b"k", Deletion::default()).await.unwrap();
        node.core(1).create_upload(id, b"u", vec![]).await.unwrap();
        node.core(2).delete_bucket("b").await.unwrap();
        assert!(node.engines.iter().all(|engine| engine.bucket("b").is_none()));
        assert_eq!(put(node.core(0), id, b"k", b"v").await, Err(EngineError::NoSuchBucket));
        let again = bucket(&node, "b").await;
        assert_ne!(again, id);
        assert_eq!(
            node.core(0)
                .list_uploads(again, UploadQuery { count_max: 9, ..Default::default() })
                .await
                .unwrap(),
            UploadPage::default()
        );
    });
}

#[test]
fn a_listing_over_cores_is_in_order_for_every_page_size() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 5, 1).await.unwrap();
        let id = bucket(&node, "b").await;
        let mut keys: Vec<Vec<u8>> = (0..300).map(|n| format!("{}/{n}", n % 7).into_bytes()).collect();
        for (number, key) in keys.iter().enumerate() {
            put(node.core(number), id, key, b"v").await.unwrap();
        }
        keys.sort();
        for page in [1, 7, 100, 1000] {
            assert_eq!(list_all(node.core(3), id, page).await, keys, "pages of {page}");
        }
        let query =
            ListQuery { delimiter: b"/".to_vec(), after: b"2/".to_vec(), count_max: 3, ..Default::default() };
        let page = node.core(0).list(id, query).await.unwrap();
        assert_eq!(page.common_prefixes, [b"3/", b"4/", b"5/"]);
        assert!(page.truncated && page.objects.is_empty() && page.next == b"5/");
    });
}

#[test]
fn cleaning_keeps_what_lives_and_gives_the_rest_back() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let id = bucket(&node, "b").await;
        for round in 0..30u64 {
            for key in 0..40u64 {
                let bytes = content(round * 100 + key, 40_000);
                put(node.core(key as usize), id, &key.to_le_bytes(), &bytes).await.unwrap();
            }
            if round == 3 {
                put(node.core(0), id, b"kept", b"from early on").await.unwrap();
                put(node.core(0), id, b"deleted", b"gone").await.unwrap();
                node.core(0).delete(id, b"deleted", Deletion::default()).await.unwrap();
            }
            for engine in &node.engines {
                engine.maintain().await.unwrap();
            }
        }
        let used: u64 = node.engines.iter().map(|engine| engine.inner.log.bytes_used()).sum();
        assert!(used < 30 << 20, "48 MB were written, {used} bytes are in use");
        simulation.disk(0).list().unwrap().iter().for_each(|file| assert!(!file.name.contains("draft")));
        let check = |node: Node| async move {
            for key in 0..40u64 {
                let found = get(node.core(1), id, &key.to_le_bytes()).await.unwrap();
                assert_eq!(found, Some(content(2900 + key, 40_000)));
            }
            assert_eq!(get(node.core(0), id, b"kept").await.unwrap().as_deref(), Some(&b"from early on"[..]));
            assert_eq!(get(node.core(0), id, b"deleted").await.unwrap(), None);
        };
        node.shutdown().await;
        check(Node::start(&simulation, 2, 1).await.unwrap()).await;
        // With another number of cores, and then from the log alone.
        check(Node::start(&simulation, 3, 1).await.unwrap()).await;
        for file in simulation.disk(0).list().unwrap() {
            if file.name.starts_with("checkpoint") {
                simulation.disk(0).remove(&file.name).await.unwrap();
            }
        }
        check(Node::start(&simulation, 1, 1).await.unwrap()).await;
    });
}

#[test]
fn damaged_payload_is_never_served() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let id = bucket(&node, "b").await;
        put(node.core(0), id, b"k", &content(1, 200_000)).await.unwrap();
        let data = simulation
            .disk(0)
            .list()
            .unwrap()
            .into_iter()
            .find(|file| file.name.starts_with("data-"))
            .unwrap();
        simulation.disk(0).flip_bit(&data.name, 4096 + 70_000).unwrap();
        assert!(matches!(get(node.core(0), id, b"k").await, Err(EngineError::Corrupt(_))));
        let object = node.core(0).get(id, b"k", None).await.unwrap().found().unwrap();
        assert_eq!(read(&object, 0..60_000).await.unwrap(), content(1, 200_000)[..60_000]);
    });
}
