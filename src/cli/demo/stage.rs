//! What the demonstration plays with: keys made on the spot, and a configuration file that uses them.
//! Must not know how a webhook looks.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::cluster::Cluster;
use crate::config::Config;
use crate::provider::keys;

/// Sources by name; `{keys}` stands for the folder of their keys.
const SOURCES: &str = r#"
[sources.smart-glocal-demo]
provider = "smart-glocal"
public_key_files = ["{keys}/smart-glocal-public.pem"]

[sources.undostres-demo]
provider = "undostres"
key_files = ["{keys}/undostres.key"]

[sources.unipaas-demo]
provider = "unipaas"
secret_files = ["{keys}/unipaas.key"]

[sources.other-demo]
provider = "standard-webhooks"
secret_files = ["{keys}/standard-webhooks.key"]
"#;

/// The keys and the configuration; gone when this value is dropped.
pub struct Stage {
    /// The configuration that the bridge runs with.
    pub config: Config,
    /// The file that holds it, for other commands to use.
    pub config_file: PathBuf,
    folder: TempDir,
}

impl Stage {
    /// Makes keys and writes the configuration file.
    ///
    /// # Errors
    /// The temporary folder cannot be written.
    pub fn prepare(cluster: &Cluster, ingress: SocketAddr, admin: SocketAddr) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("paybridge-demo-").tempdir().context("no temporary folder")?;
        write_keys(folder.path()).context("the demonstration's keys cannot be written")?;
        let text = format!(
            "bridge_instance = \"demo\"\n\n[ingress]\nlisten = \"{ingress}\"\n\n[admin]\nlisten = \"{admin}\"\n\n\
             [kafka]\nbootstrap_servers = \"{}\"\ntopic_prefix = \"{}\"\npartitions = 3\nreplication_factor = 1\n\n\
             [shutdown]\ndrain_delay_ms = 0\n{}",
            cluster.bootstrap_servers(),
            cluster.topic_prefix(),
            SOURCES.replace("{keys}", &folder.path().display().to_string()),
        );
        let config_file = folder.path().join("demo.toml");
        fs::write(&config_file, text).context("the demonstration's configuration cannot be written")?;
        let config = Config::load(Some(&config_file), [])?;
        Ok(Self { config, config_file, folder })
    }

    /// The private key of a provider whose source has only the public half.
    pub fn signing_key(&self, provider: &str) -> Option<PathBuf> {
        Some(self.folder.path().join(format!("{provider}-private.pem"))).filter(|path| path.exists())
    }
}

fn write_keys(folder: &Path) -> anyhow::Result<()> {
    let (private, public) = keys::generate_pem_pair()?;
    fs::write(folder.join("smart-glocal-private.pem"), &*private)?;
    fs::write(folder.join("smart-glocal-public.pem"), public)?;
    fs::write(folder.join("undostres.key"), format!("base64:{}", random_base64(16)?))?;
    fs::write(folder.join("unipaas.key"), random_base64(32)?)?;
    fs::write(folder.join("standard-webhooks.key"), format!("whsec_{}", random_base64(32)?))?;
    Ok(())
}

fn random_base64(length: usize) -> anyhow::Result<String> {
    let mut bytes = vec![0; length];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(STANDARD.encode(bytes))
}
