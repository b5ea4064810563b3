"""Labels in tables and JSON files of many forms."""

import json

import pytest

from dnnlib import UserError
from training.data.making.label_tables import read_label_table


def read(tmp_path, text, columns=None, name='labels.csv'):
    (tmp_path / name).write_text(text)
    return read_label_table(str(tmp_path / name), columns)


@pytest.mark.parametrize('text', ['a.png,3\nb.png,0\n', 'a.png;3\nb.png;0', 'a.png\t3\nb.png\t0', 'a.png 3\n\nb.png   0\n',
                                  'label,FileName\n3,a.png\n0,b.png\n', '"a.png", "3"\n"b.png", "0"\n',
                                  '\ufeffimage label\na.png 3\nb.png 0',
                                  './a.png,3\nb.png,0\n'])
def test_tables_of_classes(tmp_path, text):
    table = read(tmp_path, text)
    assert table.labels == {'a.png': 3, 'b.png': 0} and table.domains is None


CELEBA = '3\nBald Male Young\n000001.jpg -1  1  1\n000002.jpg -1 -1  1\n000003.jpg  1  1 -1\n'


def test_attributes_of_celeba(tmp_path):
    table = read(tmp_path, CELEBA, ['Male'], 'list_attr_celeba.txt')
    assert table.labels == {'000001.jpg': 1, '000002.jpg': 0, '000003.jpg': 1} and table.domains == ['Male=-1', 'Male=1']
    table = read(tmp_path, CELEBA, ['Young', 'Bald'], 'list_attr_celeba.txt')
    assert table.labels['000003.jpg'] == [-1, 1] and table.domains is None
    with pytest.raises(UserError, match='no such column, but Bald, Male, Young'):
        read(tmp_path, CELEBA, ['Female'])
    with pytest.raises(UserError, match='3 columns beside the files; choose with --label-column, such as Bald'):
        read(tmp_path, CELEBA)


def test_words_are_domains_in_order(tmp_path):
    table = read(tmp_path, 'a.png,dog\nb.png,cat\nc.png,dog\n')
    assert table.labels == {'a.png': 1, 'b.png': 0, 'c.png': 1} and table.domains == ['cat', 'dog']


@pytest.mark.parametrize('fields', [{'a.png': 2, 'd/b.png': 1},
                                    {'labels': [['a.png', 2], ['d\\b.png', 1]]}, [['a.png', 2], ['d/b.png', 1]]])
def test_json_of_classes(tmp_path, fields):
    assert read(tmp_path, json.dumps(fields), name='x.json').labels == {'a.png': 2, 'd/b.png': 1}


def test_json_of_vectors_and_words(tmp_path):
    assert read(tmp_path, '{"a": [1, 2.5], "b": [0, 0]}', name='x.json').labels['a'] == [1, 2.5]
    assert read(tmp_path, '{"a": "x", "b": "w"}', name='x.json').domains == ['w', 'x']


def test_labels_are_found_by_the_last_part_of_a_name_unless_that_is_ambiguous(tmp_path):
    table = read(tmp_path, 'a.png,3\nb.png,0\n')
    assert table.of(['img/a.png', 'img/b.png'], 'src') == {'img/a.png': 3, 'img/b.png': 0}
    with pytest.raises(UserError, match=r'labels\.csv: no label for x/a\.png and 1 other images of src'):
        table.of(['x/a.png', 'y/a.png', 'b.png'], 'src')


@pytest.mark.parametrize('name,text,message', [
    ('x.csv', '', 'holds no labels'),
    ('x.csv', 'a.png,1\nb.png\n', 'the line of b.png has 1 columns, not 2'),
    ('x.csv', 'a.png,1\na.png,2\n', 'a.png has two different labels'),
    ('x.csv', 'a.png\n', '0 columns'),
    ('x.json', '{', 'not valid JSON'),
    ('x.json', '3', 'must hold pairs'),
    ('x.json', '{"a": null}', 'must hold pairs'),
    ('x.json', '{"a": [1], "b": [1, 2]}', 'differ in length'),
    ('x.json', '{"a": [1], "b": 2}', 'differ in kind'),
    ('x.json', '{"a": NaN}', 'must hold pairs'),
])
def test_wrong_files_are_named(tmp_path, name, text, message):
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, text, name=name)
    assert name in str(caught.value) and '\n' not in str(caught.value)


def test_vectors_need_numbers(tmp_path):
    with pytest.raises(UserError, match=r'b\.png has labels that are no numbers'):
        read(tmp_path, 'file,x,y\na.png,1,2\nb.png,1,nan\n', ['x', 'y'])


# As pandas and people write tables.

@pytest.mark.parametrize('text', [',file,label\n0,a.png,3\n1,b.png,0\n', 'Unnamed: 0,file,label\n0,a.png,3\n1,b.png,0\n',
                                  ',label\na.png,3\nb.png,0\n', 'file,label\na.png,3.0\nb.png,0.0\n'])
def test_tables_of_pandas(tmp_path, text):
    table = read(tmp_path, text)
    assert table.labels == {'a.png': 3, 'b.png': 0} and table.domains is None
    assert all(type(label) is int for label in table.labels.values())


@pytest.mark.parametrize('cell', ['', ' ', 'nan', 'NaN', 'inf'])
def test_empty_cells_are_named(tmp_path, cell):
    for others in ('cat', '1'):
        with pytest.raises(UserError, match=r'labels\.csv: no label for b\.png, whose cell is'):
            read(tmp_path, f'file,label\na.png,{others}\nb.png,{cell}\n')


def test_measurements_are_no_classes(tmp_path):
    few = read(tmp_path, 'a.png,0.5\nb.png,-1\nc.png,2\n')
    assert few.domains == ['-1', '0.5', '2'] and few.labels == {'a.png': 1, 'b.png': 0, 'c.png': 2}
    with pytest.raises(UserError, match=r'label of 0\.png is 0\.001, which is no class, and there are 200 different ones'):
        read(tmp_path, ''.join(f'{i}.png,{i + 0.001}\n' for i in range(200)))
    with pytest.raises(UserError, match='20211103, which makes 20211104 classes'):
        read(tmp_path, 'a.png,20211103\nb.png,20211104\n')


def test_a_name_or_column_in_two_places_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'a\.png has two different labels, 0 and 1'):
        read(tmp_path, '{"a.png": 0, "./a.png": 1}', name='x.json')
    with pytest.raises(UserError, match=r'a\.png has two different labels, 0 and 1'):
        read(tmp_path, '{"a.png": 0, "a.png": 1}', name='x.json')
    with pytest.raises(UserError, match=r'--label-column=x: .* several columns of this name'):
        read(tmp_path, 'file,x,x\na.png,0,1\n', ['x'])


def test_names_in_other_case_and_entries_without_images(tmp_path):
    table = read(tmp_path, 'A.PNG,3\nb.png,0\nc.png,1\n')
    assert table.of(['img/a.png', 'img/B.png'], 'src') == {'img/a.png': 3, 'img/B.png': 0}
    assert table.notes(['img/a.png', 'img/B.png']) == [f"1 entries of {tmp_path}/labels.csv fit no image, such as 'c.png'"]
    with pytest.raises(UserError, match=r"no label for d\.png of src; its entry 'A\.PNG' fits none"):
        table.of(['d.png', 'b.png', 'c.png'], 'src')
