//! Builds an application from its manifest: every component compiled, linked and granted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use http::Request;
use tempfile::TempDir;
use wasmtime::component::Component;
use wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::allowed_hosts::AllowedHosts;
use crate::headers::Forbidden;
use crate::instance::{Grants, Reuse, Service};
use crate::key_value::{self, Stores};
use crate::manifest::{self, About, Manifest, Mount};
use crate::outbound::{self, Answer, Chain, Outbound};
use crate::routes::{Matched, Routes};
use crate::runtime_config::RuntimeConfig;
use crate::server;
use crate::stats::Stats;
use crate::stdio::Output;
use crate::variables::{self, Providers};

/// How an application is to be run.
pub struct Settings {
    /// Values given by `--variable`.
    pub variables: HashMap<String, String>,
    /// The runtime configuration.
    pub runtime_config: RuntimeConfig,
    /// Where key-value data lives.
    pub key_value: key_value::Kind,
    /// How instances are reused.
    pub reuse: Reuse,
    /// Where compiled components are kept.
    pub cache: PathBuf,
    /// How far components' wall clock runs ahead.
    pub clock_ahead: Duration,
    /// What happens to the output of components.
    pub output: Output,
    /// Whether instructions are counted.
    pub instructions: bool,
}

/// A running application.
pub struct App {
    /// Its public routes.
    pub routes: Routes,
    /// What it says about itself.
    pub about: About,
    services: BTreeMap<String, Service>,
}

/// What must outlive the application, and what it counts.
pub struct Companions {
    /// The counters by component.
    pub stats: BTreeMap<String, Arc<Stats>>,
    /// The mounted files; removed when dropped.
    pub mounts: Vec<TempDir>,
}

impl App {
    /// Compiles and links every component of `manifest`.
    ///
    /// # Errors
    ///
    /// Names the component and what it lacks: its file, a variable, a store, an import.
    pub fn start(manifest: Manifest, settings: Settings) -> Result<(Arc<Self>, Companions)> {
        let routes = Routes::build(&manifest.routes)?;
        let runtime = settings.runtime_config;
        let labels: BTreeSet<_> = manifest
            .components
            .values()
            .flat_map(|c| c.key_value_stores.clone())
            .collect();
        let configured = &runtime.key_value_stores;
        let stores = Stores::open(&labels, configured, &manifest.folder, settings.key_value)?;
        let stores = Arc::new(stores);
        let providers = Providers::new(&manifest, settings.variables, runtime.variables)?;
        let providers = Arc::new(providers);
        let client = outbound::client(runtime.connection_pooling);
        let chain = Arc::new(OnceLock::new());
        let engine = engine(&settings.cache, settings.instructions)?;
        let compiled = compile(&engine, &manifest.components)?;

        let mut services = BTreeMap::new();
        let mut companions = Companions {
            stats: BTreeMap::new(),
            mounts: Vec::new(),
        };
        for (id, component) in manifest.components {
            let name = || format!("component.{id}");
            let hosts = component.allowed_outbound_hosts.iter();
            let hosts = hosts
                .map(|host| providers.resolve(host))
                .collect::<Result<Vec<_>>>();
            let hosts = hosts.with_context(name)?;
            let variables = variables::Granted::new(Arc::clone(&providers), component.variables);
            variables.check().with_context(name)?;
            let mount = mount(&component.files).with_context(name)?;
            let grants = Grants {
                id: Arc::from(id.as_str()),
                variables,
                key_value: key_value::Granted::new(Arc::clone(&stores), component.key_value_stores),
                outbound: Outbound {
                    allowed: Arc::new(AllowedHosts::parse(&hosts).with_context(name)?),
                    client: client.clone(),
                    chain: Arc::clone(&chain),
                    forbidden: Forbidden::default(),
                },
                environment: component.environment,
                clock_ahead: settings.clock_ahead,
                output: settings.output,
                files: mount.as_ref().map(|folder| folder.path().to_path_buf()),
            };
            companions.mounts.extend(mount);
            let stats = Arc::new(Stats::default());
            companions.stats.insert(id.clone(), Arc::clone(&stats));
            let compiled = compiled
                .get(&id)
                .with_context(|| format!("component.{id} was not compiled"))?;
            let service = Service::new(&engine, compiled, grants, settings.reuse, stats)
                .map_err(|error| anyhow!("component.{id} cannot run here: {error:#}"))?;
            services.insert(id, service);
        }
        let app = Arc::new(Self {
            routes,
            about: manifest.about,
            services,
        });
        // The application lives as long as the process: the circle is meant.
        let _ = chain.set(Arc::new(Chained(Arc::clone(&app))) as Arc<dyn Chain>);
        Ok((app, companions))
    }

    /// The component called `id`.
    pub fn service(&self, id: &str) -> Option<&Service> {
        self.services.get(id)
    }
}

struct Chained(Arc<App>);

impl Chain for Chained {
    fn call(&self, component: String, request: Request<WasiBody>) -> Answer {
        let app = Arc::clone(&self.0);
        Box::pin(async move {
            let matched = Matched::chained(&component, request.uri().path());
            if app.service(&component).is_none() {
                // Spin's `*.spin.internal` stands for the components that there are.
                return Err(Error::HttpRequestDenied);
            }
            // What Spin gives as the address of a caller inside the application.
            let caller = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            let answer = server::ask(&app, matched, request, caller).await;
            answer.map_err(|error| Error::InternalError(Some(error.to_string())))
        })
    }
}

fn engine(cache: &Path, instructions: bool) -> Result<Engine> {
    fs::create_dir_all(cache).with_context(|| cache.display().to_string())?;
    let mut caching = CacheConfig::new();
    caching.with_directory(fs::canonicalize(cache)?);
    let caching = Cache::new(caching).map_err(|error| anyhow!("the cache: {error:#}"))?;
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    // Fuel is how wasmtime counts: about one for each instruction that is executed.
    config.consume_fuel(instructions);
    config.cache(Some(caching));
    // Memory set aside beforehand makes instances cheap; a small machine may not have the
    // address space for it.
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    Engine::new(&config)
        .or_else(|_| {
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            Engine::new(&config)
        })
        .map_err(|error| anyhow!("wasmtime does not start: {error:#}"))
}

/// Spin's sizes: a thousand instances. A component is several core instances.
fn pool() -> PoolingAllocationConfig {
    const INSTANCES: u32 = 1000;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(2 * INSTANCES)
        .total_stacks(INSTANCES)
        .total_core_instances(4 * INSTANCES)
        .table_elements(100_000)
        .max_component_instance_size(10 << 20)
        .max_core_instance_size(10 << 20)
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(1 << 19);
    pool
}

/// Compiles all components at the same time, or takes them from the cache.
fn compile(
    engine: &Engine,
    components: &BTreeMap<String, manifest::Component>,
) -> Result<BTreeMap<String, Component>> {
    for (id, component) in components {
        ensure!(
            component.source.is_file(),
            "component.{id}: {} does not exist (is it built?)",
            component.source.display()
        );
    }
    let one = |source: &Path| {
        Component::from_file(engine, source)
            .map_err(|error| anyhow!("{error:#}"))
            .with_context(|| format!("{} does not load", source.display()))
    };
    thread::scope(|scope| {
        let threads: Vec<_> = components
            .iter()
            .map(|(id, component)| (id, scope.spawn(|| one(&component.source))))
            .collect();
        let mut compiled = BTreeMap::new();
        for (id, thread) in threads {
            let component = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            compiled.insert(
                id.clone(),
                component.with_context(|| format!("component.{id}"))?,
            );
        }
        Ok(compiled)
    })
}

/// Copies a component's files into a folder of their own.
fn mount(files: &[Mount]) -> Result<Option<TempDir>> {
    if files.is_empty() {
        return Ok(None);
    }
    let folder = tempfile::Builder::new()
        .prefix("airside-devhost-")
        .tempdir()?;
    for file in files {
        let destination = folder.path().join(&file.destination);
        if let Some(parent) = destination.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&file.source, &destination)
            .with_context(|| format!("files: {}", file.source.display()))?;
    }
    Ok(Some(folder))
}
