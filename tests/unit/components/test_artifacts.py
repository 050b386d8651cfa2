import subprocess
import sys

import pytest
from tfx.utils import import_utils

import crossrec
from crossrec.components import artifacts


@pytest.mark.parametrize("name", artifacts.__all__)
def test_types_are_importable_by_their_type_name(name):
    kind = getattr(artifacts, name)
    assert name in dir(crossrec)
    assert f"crossrec.{name}" == kind.TYPE_NAME
    assert import_utils.import_class_by_path(kind.TYPE_NAME) is kind
    assert not kind.PROPERTIES


def test_kubeflow_accepts_the_type_names():
    from tfx.orchestration.kubeflow.v2 import compiler_utils

    for name in artifacts.__all__:
        schema = compiler_utils.get_artifact_schema(getattr(artifacts, name))
        assert f"title: crossrec.{name}" in schema


def test_importing_crossrec_and_asking_for_other_names_stays_light():
    code = (
        "import sys, crossrec\n"
        "assert not hasattr(crossrec, 'NoSuchName')\n"
        "dir(crossrec)\n"
        "heavy = {'tensorflow', 'tfx', 'numpy', 'grpc'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
