import io
import json
import zipfile

import pytest

from emulator.deployment.assembly import read_assembly, zip_folder
from emulator.deployment.no_ops import find_no_ops
from tests.emulator.small_stack import write_assembly
from treeline.core.errors import UsageError


def test_the_same_files_give_the_same_zip_whatever_their_times(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "package").mkdir(parents=True)
        (tmp_path / name / "package" / "module.py").write_text("x = 1\n")
        (tmp_path / name / "package" / "module.pyc").write_bytes(name.encode())
    assert zip_folder(tmp_path / "a") == zip_folder(tmp_path / "b")
    assert zipfile.ZipFile(io.BytesIO(zip_folder(tmp_path / "a"))).namelist() == ["package/module.py"]


def test_a_stack_comes_after_those_it_depends_on(tmp_path):
    folder = write_assembly(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    artifacts = manifest["artifacts"]
    first = {
        "type": "aws:cloudformation:stack",
        "properties": {"templateFile": "small.template.json"},
        "dependencies": ["small"],
    }
    manifest["artifacts"] = {"another": first, **artifacts}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assembly = read_assembly(folder)
    assert [stack.name for stack in assembly.stacks] == ["small", "another"]
    assert {asset.bucket for asset in assembly.assets} == {"cdk-hnb659fds-assets-000000000000-us-east-1"}


def test_a_folder_without_a_manifest_is_the_users_mistake(tmp_path):
    with pytest.raises(UsageError, match=r"manifest\.json"):
        read_assembly(tmp_path)


def test_the_report_names_what_is_not_done(tmp_path):
    (stack,) = read_assembly(write_assembly(tmp_path)).stacks
    found = {(no_op.type, no_op.not_done.split(":")[0]) for no_op in find_no_ops([stack.resources()])}
    assert ("AWS::DynamoDB::Table", "PointInTimeRecoverySpecification") in found
    assert ("AWS::IAM::Role", "permissions are not enforced") in found
    assert not [kind for kind, _ in found if kind == "AWS::Lambda::EventSourceMapping"]
