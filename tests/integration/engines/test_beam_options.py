"""Options of Beam on their way from the spec to the nodes."""

import tempfile

import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.utils.dependency_utils import make_beam_dependency_flags

from crossrec.pipeline.dag import build
from crossrec.pipeline.locations import Locations
from crossrec.pipeline.spec.beam import ALL, BEAM_NODES
from tests.integration.engines.nodes import make_marketplace


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    return make_marketplace(folder), Locations(str(folder / "data"), str(folder / "run"))


def options_of(made, beam):
    """Runner, mode and number of workers of each node that uses Beam."""
    spec, locations = made
    found = {}
    for node in build(spec.model_copy(update={"beam": beam}), locations).components:
        if isinstance(node, BaseBeamComponent):
            options = PipelineOptions(list(node.executor_spec.beam_pipeline_args))
            direct = options.view_as(DirectOptions)
            runner = options.view_as(StandardOptions).runner
            found[node.id] = (runner, direct.direct_running_mode, direct.direct_num_workers)
    return found


def test_without_the_section_one_process_works(made):
    assert options_of(made, {}) == dict.fromkeys(BEAM_NODES, (None, "in_memory", 1))


def test_options_of_a_node_come_behind_those_of_all(made):
    several = ("--direct_running_mode=multi_processing", "--direct_num_workers=4")
    found = options_of(made, {ALL: several, "CrossSelector": ("--direct_num_workers=2",)})
    assert found.pop("CrossSelector") == (None, "multi_processing", 2)
    assert set(found.values()) == {(None, "multi_processing", 4)}


def packed(options):
    """What TFX adds to options for the workers, having packed itself."""
    return make_beam_dependency_flags(options)[len(options) :]


def test_tfx_packs_nothing_for_workers_of_this_machine(made, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spec, locations = made
    several = ("--direct_running_mode=multi_processing", "--direct_num_workers=4")
    for beam in ({}, {ALL: several}, {"CrossSelector": several}, {ALL: ("--runner=DirectRunner",)}):
        for node in build(spec.model_copy(update={"beam": beam}), locations).components:
            if isinstance(node, BaseBeamComponent):
                options = list(node.executor_spec.beam_pipeline_args)
                assert not options or not packed(options), "TFX asks for it only where there are options"
    assert packed(list(several)), "and does it otherwise"


def test_workers_elsewhere_get_what_the_spec_says(made):
    spec, locations = made
    flink = ("--runner=FlinkRunner", "--flink_master=localhost:8081")
    for node in build(spec.model_copy(update={"beam": {ALL: flink}}), locations).components:
        if isinstance(node, BaseBeamComponent):
            assert tuple(node.executor_spec.beam_pipeline_args) == flink


def test_options_change_no_parameter_and_so_no_cache_key(made):
    spec, locations = made
    plain, other = (
        [dict(node.exec_properties) for node in build(spec.model_copy(update={"beam": beam}), locations).components]
        for beam in ({}, {ALL: ("--runner=FlinkRunner",)})
    )
    assert plain == other
