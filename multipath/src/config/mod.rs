//! `multipath.conf`: what its sections and attributes mean here.
//!
//! Sections, names and defaults are those of multipath.conf(5). What applies to a map is what its
//! `multipath` section says, then `overrides`, then the `device` sections that match its disk, in
//! order, then `defaults`. Attributes that mean nothing to a map in userspace are passed over; names
//! that multipath.conf does not know are named with their line.
//!
//! Our own attributes may stand wherever the others may: `deadline`, `flush_deadline`, `hedge`,
//! `ghost_writes`, `queue_bytes`, `reinstate_checks`, `fingerprint`, `fence_program`,
//! `fence_on_close`; and in a `multipath` section `path`, once for each path.

mod attributes;
pub mod parse;

use crate::pattern::Pattern;
use crate::settings::Settings;

pub use attributes::Knobs;
pub use parse::{Attribute, Complaint, Section};

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    defaults: Vec<Attribute>,
    devices: Vec<DeviceRule>,
    overrides: Vec<Attribute>,
    /// Maps with a section of their own.
    pub maps: Vec<MapRule>,
    blacklist: Vec<(String, Pattern)>,
    exceptions: Vec<(String, Pattern)>,
    /// What was not understood.
    pub complaints: Vec<Complaint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct DeviceRule {
    vendor: Option<Pattern>,
    product: Option<Pattern>,
    revision: Option<Pattern>,
    attributes: Vec<Attribute>,
}

/// A `multipath` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapRule {
    /// Whose disk; empty if not said.
    pub wwid: String,
    /// What it is called; empty if not said.
    pub alias: String,
    /// Its paths, in order.
    pub paths: Vec<String>,
    attributes: Vec<Attribute>,
}

/// A disk, as far as `device` sections and blacklists look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk<'a> {
    /// Its wwid.
    pub wwid: &'a str,
    /// Vendor.
    pub vendor: &'a str,
    /// Product.
    pub product: &'a str,
    /// Revision.
    pub revision: &'a str,
}

impl Config {
    /// Reads a configuration. Nothing in it is fatal: what is not understood is in
    /// [`Config::complaints`].
    pub fn read(text: &str) -> Self {
        let (root, complaints) = parse::parse(text);
        let mut config = Self { complaints, ..Self::default() };
        for attribute in &root.attributes {
            config.complain(attribute.line, format!("{:?} stands in no section", attribute.name));
        }
        for section in root.sections {
            config.section(section);
        }
        // Everything is tried once, so that what makes no sense is told once.
        let mut knobs = Knobs::default();
        let all = config.defaults.iter().chain(&config.overrides);
        let devices = config.devices.iter().flat_map(|rule| &rule.attributes);
        let maps = config.maps.iter().flat_map(|rule| &rule.attributes);
        let wrong: Vec<Complaint> = all
            .chain(devices)
            .chain(maps)
            .filter_map(|attribute| {
                let what = knobs.apply(&attribute.name, &attribute.value).err()?;
                Some(Complaint { line: attribute.line, what })
            })
            .collect();
        config.complaints.extend(wrong);
        config.complaints.sort_by_key(|complaint| complaint.line);
        config
    }

    fn complain(&mut self, line: usize, what: String) {
        self.complaints.push(Complaint { line, what });
    }

    fn section(&mut self, section: Section) {
        match &*section.name {
            "defaults" => {
                self.no_sections(&section);
                self.defaults.extend(section.attributes);
            }
            "overrides" => {
                for inner in &section.sections {
                    if inner.name != "protocol" {
                        self.unknown_section(inner);
                    }
                }
                self.overrides.extend(section.attributes);
            }
            "devices" => self.within(section, "device", Self::device),
            "multipaths" => self.within(section, "multipath", Self::map),
            "blacklist" => {
                let list = self.patterns(section);
                self.blacklist.extend(list);
            }
            "blacklist_exceptions" => {
                let list = self.patterns(section);
                self.exceptions.extend(list);
            }
            _ => self.unknown_section(&section),
        }
    }

    fn unknown_section(&mut self, section: &Section) {
        self.complain(section.line, format!("no such section: {:?}", section.name));
    }

    fn no_sections(&mut self, section: &Section) {
        for inner in &section.sections {
            self.unknown_section(inner);
        }
    }

    fn within(&mut self, section: Section, name: &str, act: fn(&mut Self, Section)) {
        for attribute in &section.attributes {
            let what = format!("{:?} stands in no {name} section", attribute.name);
            self.complain(attribute.line, what);
        }
        for inner in section.sections {
            if inner.name == name {
                act(self, inner);
            } else {
                self.unknown_section(&inner);
            }
        }
    }

    fn pattern(&mut self, attribute: &Attribute) -> Option<Pattern> {
        let read = Pattern::new(&attribute.value);
        read.map_err(|error| self.complain(attribute.line, error.to_string())).ok()
    }

    fn device(&mut self, section: Section) {
        self.no_sections(&section);
        let mut rule =
            DeviceRule { vendor: None, product: None, revision: None, attributes: Vec::new() };
        for attribute in section.attributes {
            match &*attribute.name {
                "vendor" => rule.vendor = self.pattern(&attribute),
                "product" => rule.product = self.pattern(&attribute),
                "revision" => rule.revision = self.pattern(&attribute),
                "product_blacklist" | "vpd_vendor" | "hardware_handler" => {}
                _ => rule.attributes.push(attribute),
            }
        }
        self.devices.push(rule);
    }

    fn map(&mut self, section: Section) {
        self.no_sections(&section);
        let mut rule = MapRule::default();
        for attribute in section.attributes {
            match &*attribute.name {
                "wwid" => rule.wwid = attribute.value,
                "alias" => rule.alias = attribute.value,
                "path" => rule.paths.push(attribute.value),
                _ => rule.attributes.push(attribute),
            }
        }
        self.maps.push(rule);
    }

    fn patterns(&mut self, section: Section) -> Vec<(String, Pattern)> {
        let mut list = Vec::new();
        for attribute in section.attributes {
            match &*attribute.name {
                "devnode" | "wwid" | "property" | "protocol" => {
                    if let Some(pattern) = self.pattern(&attribute) {
                        list.push((attribute.name, pattern));
                    }
                }
                other => self.complain(attribute.line, format!("no such attribute: {other:?}")),
            }
        }
        for inner in section.sections.into_iter().filter(|inner| inner.name != "device") {
            self.unknown_section(&inner);
        }
        list
    }

    /// The map a disk or a name belongs to.
    pub fn map_of(&self, wwid_or_alias: &str) -> Option<&MapRule> {
        let is = |rule: &&MapRule| rule.wwid == wwid_or_alias || rule.alias == wwid_or_alias;
        self.maps.iter().find(is)
    }

    /// Everything that applies to a disk.
    pub fn knobs(&self, disk: Disk<'_>) -> Knobs {
        let fits = |pattern: &Option<Pattern>, word: &str| {
            pattern.as_ref().is_none_or(|pattern| pattern.matches(word))
        };
        let devices = self.devices.iter().filter(|rule| {
            fits(&rule.vendor, disk.vendor)
                && fits(&rule.product, disk.product)
                && fits(&rule.revision, disk.revision)
        });
        let map = self.map_of(disk.wwid).map(|rule| &rule.attributes);
        let mut knobs = Knobs::default();
        let layers = self
            .defaults
            .iter()
            .chain(devices.flat_map(|rule| &rule.attributes))
            .chain(&self.overrides)
            .chain(map.into_iter().flatten());
        for attribute in layers {
            let _ = knobs.apply(&attribute.name, &attribute.value); // told by `read`
        }
        knobs
    }

    /// The settings of a disk's map.
    pub fn settings(&self, disk: Disk<'_>) -> Settings {
        self.knobs(disk).settings()
    }

    /// Whether a path is not to be used: its device node or wwid is blacklisted and not excepted.
    pub fn is_blacklisted(&self, devnode: &str, wwid: &str) -> bool {
        let hit = |list: &[(String, Pattern)], kind: &str, word: &str| {
            list.iter().any(|(name, pattern)| name == kind && pattern.matches(word))
        };
        [("devnode", devnode), ("wwid", wwid)].iter().any(|(kind, word)| {
            hit(&self.blacklist, kind, word) && !hit(&self.exceptions, kind, word)
        })
    }
}

#[cfg(test)]
mod tests;
