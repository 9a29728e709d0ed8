#!/usr/bin/env python3
"""check_sources.py finds what it claims to find, on small trees made here."""

import pathlib
import tempfile
import unittest

from check_sources import check_tree

TABLE = """
kumihimo_library(base   PUBLIC Threads::Threads)
kumihimo_library(model  PUBLIC base PRIVATE fmt::fmt)
kumihimo_library(tensor PUBLIC base)
kumihimo_library(cli    PUBLIC model
                        PRIVATE CLI11::CLI11)
"""


class CheckSources(unittest.TestCase):
    def faults(self, **files):
        """`files`: path with / written __, extension with _dot_ -> text."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "CMakeLists.txt").write_text(TABLE)
            for name, text in files.items():
                path = root / name.replace("__", "/").replace("_dot_", ".")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return check_tree(root)

    def test_allowed_includes_are_silent(self):
        faults, _ = self.faults(
            src__cli__a_dot_cpp='#include "base/error.hpp"\n#include "model/x.hpp"\n#include <vector>\n'
        )
        self.assertEqual(faults, [])

    def test_cuda_sources_are_held_to_the_same(self):
        faults, _ = self.faults(src__tensor__cuda__a_dot_cu='#include "cli/program.hpp"\n')
        self.assertEqual(len(faults), 1)

    def test_a_folder_below_may_not_include_one_above(self):
        faults, _ = self.faults(src__model__a_dot_hpp='#include "cli/program.hpp"\n')
        self.assertEqual(len(faults), 1)
        self.assertIn("model may not include", faults[0])

    def test_siblings_may_not_meet(self):
        faults, _ = self.faults(src__cli__a_dot_cpp='#  include "tensor/x.hpp"\n')
        self.assertEqual(len(faults), 1)

    def test_unit_tests_follow_the_folder_they_test(self):
        faults, _ = self.faults(tests__unit__model__a_dot_cpp='#include "cli/program.hpp"\n')
        self.assertEqual(len(faults), 1)

    def test_a_type_has_a_name_of_its_own(self):
        one = "namespace kumihimo {\nstruct Outcome {};\n}\n"
        faults, _ = self.faults(src__model__a_dot_hpp=one, src__tensor__a_dot_hpp=one)
        self.assertEqual(len(faults), 1)
        self.assertIn("Outcome is the name of a type of src/model/a.hpp too", faults[0])
        apart = one.replace("namespace kumihimo", "namespace kumihimo::tensor")
        faults, _ = self.faults(src__model__a_dot_hpp=one, src__tensor__a_dot_hpp=apart)
        self.assertEqual(faults, [])

    def test_a_commented_include_is_none(self):
        faults, _ = self.faults(src__model__a_dot_hpp='// #include "cli/program.hpp"\n')
        self.assertEqual(faults, [])

    def test_a_document_that_is_named_is_there(self):
        message = 'Error fault{"see docs/stacks.md"};\n'
        faults, _ = self.faults(src__model__a_dot_cpp=message)
        self.assertEqual(faults, [
            "src/model/a.cpp: names docs/stacks.md, which is not there"])
        faults, _ = self.faults(src__model__a_dot_cpp=message, docs__stacks_dot_md="# Stacks\n")
        self.assertEqual(faults, [])

    def test_relative_includes_are_refused(self):
        for include in ("x.hpp", "../base/error.hpp"):
            faults, _ = self.faults(src__model__a_dot_hpp=f'#include "{include}"\n')
            self.assertEqual(len(faults), 1, include)

    def test_a_header_beside_its_test_needs_no_folder(self):
        faults, _ = self.faults(tests__unit__model__a_dot_cpp='#include "play.hpp"\n')
        self.assertEqual(faults, [])

    def test_a_folder_needs_a_library_line(self):
        faults, _ = self.faults(src__engine__a_dot_cpp="\n")
        self.assertIn("no kumihimo_library line", faults[0])

    def test_only_cli_may_end_the_process(self):
        faults, _ = self.faults(src__model__a_dot_cpp="void f() { std::exit(1); }\n")
        self.assertEqual(len(faults), 1)
        faults, _ = self.faults(src__cli__a_dot_cpp="void f() { _exit(1); }\n")
        self.assertEqual(faults, [])

    def test_utils_is_no_name(self):
        faults, _ = self.faults(src__model__utils__a_dot_cpp="\n")
        self.assertEqual(len(faults), 1)

    def test_long_files_are_listed_but_allowed(self):
        faults, long_files = self.faults(src__model__a_dot_cpp="\n" * 501)
        self.assertEqual(faults, [])
        self.assertEqual(len(long_files), 1)


if __name__ == "__main__":
    unittest.main()
