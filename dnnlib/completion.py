"""Completion of options in bash: `source <(python -m dnnlib.completion)`.

Our commands start with `python`, so this extends the completion of that word. If the program is one of ours, the shell asks the
program for completions, which click provides. Otherwise files are completed.
"""

from __future__ import annotations

from dnnlib.cli import COMPLETE_VAR

PROGRAMS = ('train.py', 'generate.py', 'dataset_tool.py', 'calc_metrics.py')
MODULES = ('training.calibration', 'training.curves', 'training.doctor', 'training.encoder', 'training.report',
           'training.snapshot', 'torch_utils.custom_ops')

SCRIPT = f'''_stylegan_complete() {{
    local word program given=() reply kind value
    COMPREPLY=()
    # bash cuts --data=runs into three words; click wants two.
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD}}"; do
        case "$word" in
            =) ;;
            *) given+=("$word") ;;
        esac
    done
    [[ "${{COMP_WORDS[COMP_CWORD]}}" == = ]] && given+=("")
    case "${{given[*]:0:1}}" in
        {'|'.join(f'{name}|*/{name}' for name in PROGRAMS)}) program=("${{given[@]:0:1}}"); given=("${{given[@]:1}}") ;;
        -m) case "${{given[*]:1:1}}" in
            {'|'.join(MODULES)}) program=("${{given[@]:0:2}}"); given=("${{given[@]:2}}") ;;
            *) return ;;
        esac ;;
        *) return ;;
    esac
    (( ${{#given[@]}} )) || return
    reply=$({COMPLETE_VAR}=bash_complete COMP_WORDS="program ${{given[*]}}" COMP_CWORD=${{#given[@]}} \\
        "${{COMP_WORDS[@]:0:1}}" "${{program[@]}}" 2> /dev/null)
    while IFS=, read -r kind value; do
        [[ "$kind" == plain ]] && COMPREPLY+=("$value")
    done <<< "$reply"
}}
complete -o bashdefault -o default -F _stylegan_complete python python3
'''


def main() -> None:
    """Print the script for the shell."""
    print(SCRIPT, end='')


if __name__ == '__main__':
    main()
