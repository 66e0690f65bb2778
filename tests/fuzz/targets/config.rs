//! The settings of a node: any file and any environment is read or refused with a sentence.

use ringcask::control::bytes_size::BytesSize;
use ringcask::control::config::Layer;

/// The text of a configuration file; or lines `NAME=value` of the environment, if the first has the name of one
/// of ours.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(size) = text.parse::<BytesSize>() {
        assert_eq!(size.to_string().parse(), Ok(size));
    }
    let layer = if text.starts_with("RINGCASK_") { environment(text) } else { Layer::from_toml(text) };
    let layer = match layer {
        Ok(layer) => layer,
        Err(why) => return assert!(!why.is_empty()),
    };
    assert_eq!(layer.clone().or(Layer::default()), layer, "what says nothing changes nothing");
    assert_eq!(Layer::default().or(layer.clone()), layer);
    match layer.settle() {
        Ok(settings) => {
            assert!(!settings.data.is_empty() && settings.cores > 0 && !settings.region.is_empty());
            let targets = &settings.notification_targets;
            assert!(targets.iter().all(|target| target.path.starts_with('/') && !target.host.is_empty()));
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

fn environment(text: &str) -> Result<Layer, String> {
    Layer::from_environment(|name| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(have, _)| *have == name).map(|(_, value)| value.to_owned())
    })
}
